package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"raftwerk.dev/clients/checks"
)

// expect reads a key; a nil want means that it must be absent.
func (s *suite) expect(key, want []byte) error {
	got, err := s.client.Get(s.ctx, key)
	if err != nil {
		return err
	}
	if want == nil && got != nil {
		return fmt.Errorf("%q is there with %d bytes", key, len(got))
	}
	if want != nil && (got == nil || !bytes.Equal(got, want)) {
		return fmt.Errorf("%q holds %q, want %q", key, clip(got), clip(want))
	}
	return nil
}

func clip(value []byte) []byte {
	if len(value) > 40 {
		return value[:40]
	}
	return value
}

func (s *suite) putAndExpect(key, value []byte) error {
	if err := s.client.Put(s.ctx, key, value); err != nil {
		return err
	}
	return s.expect(key, value)
}

func singleKeys(s *suite) {
	s.check("cluster id is known", func() error {
		if s.client.ClusterID() == 0 {
			return fmt.Errorf("cluster id is 0")
		}
		return nil
	})
	s.check("get of an absent key", func() error { return s.expect(s.key("absent"), nil) })
	s.check("put and get", func() error { return s.putAndExpect(s.key("a"), []byte("value")) })
	s.check("overwrite", func() error {
		for i := range 5 {
			if err := s.putAndExpect(s.key("a"), fmt.Appendf(nil, "value %d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	s.check("delete", func() error {
		if err := s.putAndExpect(s.key("a"), []byte("x")); err != nil {
			return err
		}
		if err := s.client.Delete(s.ctx, s.key("a")); err != nil {
			return err
		}
		return s.expect(s.key("a"), nil)
	})
	s.check("delete of an absent key", func() error { return s.client.Delete(s.ctx, s.key("absent")) })
	s.check("put after delete", func() error {
		if err := s.client.Delete(s.ctx, s.key("a")); err != nil {
			return err
		}
		return s.putAndExpect(s.key("a"), []byte("again"))
	})
	// An empty value differs from none: the client gives an empty slice for it.
	s.check("empty value is a value", func() error { return s.putAndExpect(s.key("a"), []byte{}) })
	s.check("empty value over a longer one", func() error {
		if err := s.putAndExpect(s.key("a"), []byte("longer")); err != nil {
			return err
		}
		return s.putAndExpect(s.key("a"), []byte{})
	})
	s.check("binary key and value", func() error {
		key := append(s.key(""), 0, 1, 255, 254, 0)
		return s.putAndExpect(key, []byte{0, 255, 0, 1, 128})
	})
	s.check("all byte values as last byte of a key", func() error {
		for i := range 256 {
			if err := s.putAndExpect(append(s.key("b"), byte(i)), []byte{byte(i), 1}); err != nil {
				return err
			}
		}
		return nil
	})
	s.check("value of 1 MiB", func() error {
		value := make([]byte, 1<<20)
		for i := range value {
			value[i] = byte(rand.Uint32())
		}
		return s.putAndExpect(s.key("big"), value)
	})
	s.check("value of 4 MiB", func() error {
		return s.putAndExpect(s.key("bigger"), bytes.Repeat([]byte("0123456789abcdef"), 4<<16))
	})
	s.check("key of 4 KiB", func() error {
		return s.putAndExpect(append(s.key(""), bytes.Repeat([]byte("k"), 4<<10)...), []byte("x"))
	})
	s.check("many keys at once", func() error { return s.parallel(32, 50) })
	s.check("concurrent writers of one key leave one of their values", func() error {
		const writers = 16
		errs := make(chan error, writers)
		for i := range writers {
			go func() { errs <- s.client.Put(s.ctx, s.key("one"), fmt.Appendf(nil, "writer %02d", i)) }()
		}
		for range writers {
			if err := <-errs; err != nil {
				return err
			}
		}
		got, err := s.client.Get(s.ctx, s.key("one"))
		if err == nil && len(got) != len("writer 00") {
			err = fmt.Errorf("holds %q", got)
		}
		return err
	})
	s.check("put with a time to live", func() error {
		if err := s.client.PutWithTTL(s.ctx, s.key("t"), []byte("x"), 100); err != nil {
			return err
		}
		ttl, err := s.client.GetKeyTTL(s.ctx, s.key("t"))
		if err != nil {
			return err
		}
		if ttl == nil || *ttl == 0 || *ttl > 100 {
			return fmt.Errorf("ttl is %v", ttl)
		}
		return s.expect(s.key("t"), []byte("x"))
	})
	s.check("a key is gone after its time to live", func() error {
		if err := s.client.PutWithTTL(s.ctx, s.key("t"), []byte("x"), 1); err != nil {
			return err
		}
		err := checks.Eventually("the end of the key", func() (bool, error) {
			got, err := s.client.Get(s.ctx, s.key("t"))
			return err == nil && got == nil, err
		})
		if err != nil {
			return err
		}
		k, _, err := s.client.Scan(s.ctx, s.key(""), s.key("~"), 10)
		if err == nil && len(k) != 0 {
			err = fmt.Errorf("a scan still gives %d keys", len(k))
		}
		return err
	})
	s.check("a later put without time to live stays", func() error {
		if err := s.client.PutWithTTL(s.ctx, s.key("t"), []byte("x"), 1); err != nil {
			return err
		}
		if err := s.client.Put(s.ctx, s.key("t"), []byte("y")); err != nil {
			return err
		}
		time.Sleep(1500 * time.Millisecond)
		return s.expect(s.key("t"), []byte("y"))
	})
	s.check("time to live of a key without one", func() error {
		if err := s.client.Put(s.ctx, s.key("t"), []byte("x")); err != nil {
			return err
		}
		ttl, err := s.client.GetKeyTTL(s.ctx, s.key("t"))
		if err == nil && (ttl == nil || *ttl != 0) {
			err = fmt.Errorf("ttl is %v", ttl)
		}
		return err
	})
	s.check("time to live of an absent key", func() error {
		ttl, err := s.client.GetKeyTTL(s.ctx, s.key("absent"))
		if err == nil && ttl != nil {
			err = fmt.Errorf("ttl is %d", *ttl)
		}
		return err
	})
}

// parallel has workers that each put and read back keys of their own.
func (s *suite) parallel(workers, keys int) error {
	errs := make(chan error, workers)
	for worker := range workers {
		go func() {
			for i := range keys {
				key := s.key(fmt.Sprintf("%d/%d", worker, i))
				if err := s.putAndExpect(key, fmt.Appendf(nil, "%d %d", worker, i)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
