package main

import (
	"fmt"
	"hash/crc64"
)

func ranges(s *suite) {
	s.check("delete range", func() error {
		keys, values := s.numbered(300)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.client.DeleteRange(s.ctx, keys[50], keys[250]); err != nil {
			return err
		}
		for i := 50; i < 250; i++ {
			values[i] = nil
		}
		return s.expectAll(keys, values)
	})
	s.check("delete range of nothing", func() error {
		return s.client.DeleteRange(s.ctx, s.key("x"), s.key("y"))
	})
	s.check("put into a deleted range", func() error {
		keys, values := s.numbered(20)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.client.DeleteRange(s.ctx, keys[0], s.key("9")); err != nil {
			return err
		}
		if err := s.client.Put(s.ctx, keys[3], []byte("new")); err != nil {
			return err
		}
		for i := range values {
			values[i] = nil
		}
		values[3] = []byte("new")
		return s.expectAll(keys, values)
	})
	s.check("checksum of a range", func() error {
		keys, values := s.numbered(99)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		var want, size uint64
		table := crc64.MakeTable(crc64.ECMA)
		for i := range keys {
			pair := append(s.stored(keys[i]), values[i]...)
			want ^= crc64.Checksum(pair, table)
			size += uint64(len(pair))
		}
		got, err := s.client.Checksum(s.ctx, keys[0], s.key("9"))
		if err != nil {
			return err
		}
		if got.Crc64Xor != want || got.TotalKvs != 99 || got.TotalBytes != size {
			return fmt.Errorf("got %+v, want crc %d, 99 pairs, %d bytes", got, want, size)
		}
		return nil
	})
}

func swaps(s *suite) {
	atomic := func(name string, run func() error) {
		s.check(name, func() error {
			s.client.SetAtomicForCAS(true)
			defer s.client.SetAtomicForCAS(false)
			return run()
		})
	}
	atomic("compare-and-swap of an absent key", func() error {
		old, ok, err := s.client.CompareAndSwap(s.ctx, s.key("a"), nil, []byte("1"))
		if err != nil {
			return err
		}
		if !ok || old != nil {
			return fmt.Errorf("swapped %v, found %q", ok, old)
		}
		return s.expect(s.key("a"), []byte("1"))
	})
	atomic("compare-and-swap that matches", func() error {
		if err := s.client.Put(s.ctx, s.key("a"), []byte("1")); err != nil {
			return err
		}
		old, ok, err := s.client.CompareAndSwap(s.ctx, s.key("a"), []byte("1"), []byte("2"))
		if err != nil {
			return err
		}
		if !ok || string(old) != "1" {
			return fmt.Errorf("swapped %v, found %q", ok, old)
		}
		return s.expect(s.key("a"), []byte("2"))
	})
	atomic("compare-and-swap that does not match", func() error {
		if err := s.client.Put(s.ctx, s.key("a"), []byte("1")); err != nil {
			return err
		}
		old, ok, err := s.client.CompareAndSwap(s.ctx, s.key("a"), []byte("0"), []byte("2"))
		if err != nil {
			return err
		}
		if ok || string(old) != "1" {
			return fmt.Errorf("swapped %v, found %q", ok, old)
		}
		return s.expect(s.key("a"), []byte("1"))
	})
	atomic("compare-and-swap of a present key that should be absent", func() error {
		if err := s.client.Put(s.ctx, s.key("a"), []byte("1")); err != nil {
			return err
		}
		_, ok, err := s.client.CompareAndSwap(s.ctx, s.key("a"), nil, []byte("2"))
		if err == nil && ok {
			err = fmt.Errorf("swapped")
		}
		return err
	})
	atomic("counter by compare-and-swap loses nothing", func() error {
		const workers, each = 8, 20
		errs := make(chan error, workers)
		for range workers {
			go func() { errs <- s.increment(s.key("counter"), each) }()
		}
		for range workers {
			if err := <-errs; err != nil {
				return err
			}
		}
		return s.expect(s.key("counter"), fmt.Appendf(nil, "%d", workers*each))
	})
}

func (s *suite) increment(key []byte, times int) error {
	for done := 0; done < times; {
		old, err := s.client.Get(s.ctx, key)
		if err != nil {
			return err
		}
		var count int
		if old != nil {
			if _, err := fmt.Sscanf(string(old), "%d", &count); err != nil {
				return err
			}
		}
		_, ok, err := s.client.CompareAndSwap(s.ctx, key, old, fmt.Appendf(nil, "%d", count+1))
		if err != nil {
			return err
		}
		if ok {
			done++
		}
	}
	return nil
}
