package main

import (
	"bytes"
	"fmt"

	"github.com/tikv/client-go/v2/rawkv"
)

// numbered makes n keys with values, in key order.
func (s *suite) numbered(n int) (keys, values [][]byte) {
	for i := range n {
		keys = append(keys, s.key(fmt.Sprintf("%05d", i)))
		values = append(values, fmt.Appendf(nil, "value %d", i))
	}
	return keys, values
}

func (s *suite) expectAll(keys, want [][]byte) error {
	got, err := s.client.BatchGet(s.ctx, keys)
	if err != nil {
		return err
	}
	if len(got) != len(keys) {
		return fmt.Errorf("%d values for %d keys", len(got), len(keys))
	}
	for i := range keys {
		if !bytes.Equal(got[i], want[i]) {
			return fmt.Errorf("%q holds %q, want %q", keys[i], clip(got[i]), clip(want[i]))
		}
	}
	return nil
}

func batches(s *suite) {
	for _, n := range []int{1, 10, 1000, 5000} {
		s.check(fmt.Sprintf("batch put and get of %d keys", n), func() error {
			keys, values := s.numbered(n)
			if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
				return err
			}
			return s.expectAll(keys, values)
		})
	}
	s.check("batch get with absent keys", func() error {
		keys, values := s.numbered(20)
		if err := s.client.BatchPut(s.ctx, keys[:10], values[:10]); err != nil {
			return err
		}
		for i := 10; i < 20; i++ {
			values[i] = nil
		}
		return s.expectAll(keys, values)
	})
	s.check("batch get of a key twice", func() error {
		if err := s.client.Put(s.ctx, s.key("a"), []byte("x")); err != nil {
			return err
		}
		return s.expectAll([][]byte{s.key("a"), s.key("b"), s.key("a")}, [][]byte{[]byte("x"), nil, []byte("x")})
	})
	s.check("batch delete", func() error {
		keys, values := s.numbered(500)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.client.BatchDelete(s.ctx, keys[100:400]); err != nil {
			return err
		}
		for i := 100; i < 400; i++ {
			values[i] = nil
		}
		return s.expectAll(keys, values)
	})
	s.check("batch put with times to live", func() error {
		keys, values := s.numbered(3)
		if err := s.client.BatchPutWithTTL(s.ctx, keys, values, []uint64{50, 60, 70}); err != nil {
			return err
		}
		for i, key := range keys {
			ttl, err := s.client.GetKeyTTL(s.ctx, key)
			if err != nil {
				return err
			}
			if most := uint64(50 + 10*i); ttl == nil || *ttl > most || *ttl+5 < most {
				return fmt.Errorf("ttl of key %d is %v, want about %d", i, ttl, most)
			}
		}
		return nil
	})
	s.check("batch put in a column family that is named", func() error {
		keys, values := s.numbered(3)
		if err := s.client.BatchPut(s.ctx, keys, values, rawkv.SetColumnFamily("default")); err != nil {
			return err
		}
		return s.expectAll(keys, values)
	})
}
