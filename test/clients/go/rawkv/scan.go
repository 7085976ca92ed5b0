package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tikv/client-go/v2/rawkv"
)

// same compares what a scan gave with what it should give; nil values are not compared.
func same(keys, values, wantKeys, wantValues [][]byte) error {
	if len(keys) != len(wantKeys) {
		return fmt.Errorf("%d keys, want %d", len(keys), len(wantKeys))
	}
	for i := range keys {
		if !bytes.Equal(keys[i], wantKeys[i]) {
			return fmt.Errorf("key %d is %q, want %q", i, keys[i], wantKeys[i])
		}
		if wantValues != nil && !bytes.Equal(values[i], wantValues[i]) {
			return fmt.Errorf("value of %q is %q, want %q", keys[i], clip(values[i]), clip(wantValues[i]))
		}
	}
	return nil
}

func scans(s *suite) {
	const n = 600
	var keys, values [][]byte
	scan := func(name string, run func() error) {
		s.check(name, func() error {
			s.prefix = "check/scans/"
			return run()
		})
	}
	scan("fill for scans", func() error {
		keys, values = s.numbered(n)
		return s.client.BatchPut(s.ctx, keys, values)
	})
	end := []byte("check/scans0")
	scan("scan forward", func() error {
		k, v, err := s.client.Scan(s.ctx, s.key(""), end, n)
		if err != nil {
			return err
		}
		return same(k, v, keys, values)
	})
	scan("scan with a limit", func() error {
		k, v, err := s.client.Scan(s.ctx, s.key(""), end, 7)
		if err != nil {
			return err
		}
		return same(k, v, keys[:7], values[:7])
	})
	scan("scan from the middle, start in, end out", func() error {
		k, v, err := s.client.Scan(s.ctx, keys[100], keys[200], n)
		if err != nil {
			return err
		}
		return same(k, v, keys[100:200], values[100:200])
	})
	scan("scan keys only", func() error {
		k, v, err := s.client.Scan(s.ctx, keys[0], keys[50], n, rawkv.ScanKeyOnly())
		if err != nil {
			return err
		}
		for _, value := range v {
			if len(value) != 0 {
				return fmt.Errorf("a value came: %q", value)
			}
		}
		return same(k, v, keys[:50], nil)
	})
	scan("scan of an empty range", func() error {
		k, v, err := s.client.Scan(s.ctx, []byte("check/scans/x"), []byte("check/scans/y"), n)
		if err != nil {
			return err
		}
		return same(k, v, nil, nil)
	})
	scan("scan without end", func() error {
		k, v, err := s.client.Scan(s.ctx, keys[n-3], nil, 3)
		if err != nil {
			return err
		}
		return same(k, v, keys[n-3:], values[n-3:])
	})
	backKeys, backValues := slices.Clone(keys), slices.Clone(values)
	slices.Reverse(backKeys)
	slices.Reverse(backValues)
	scan("reverse scan", func() error {
		k, v, err := s.client.ReverseScan(s.ctx, end, s.key(""), n)
		if err != nil {
			return err
		}
		return same(k, v, backKeys, backValues)
	})
	scan("reverse scan with a limit", func() error {
		k, v, err := s.client.ReverseScan(s.ctx, end, s.key(""), 9)
		if err != nil {
			return err
		}
		return same(k, v, backKeys[:9], backValues[:9])
	})
	scan("reverse scan, start out, end in", func() error {
		k, v, err := s.client.ReverseScan(s.ctx, keys[200], keys[100], n)
		if err != nil {
			return err
		}
		return same(k, v, backKeys[n-200:n-100], backValues[n-200:n-100])
	})
	scan("reverse scan keys only", func() error {
		k, v, err := s.client.ReverseScan(s.ctx, keys[20], keys[10], n, rawkv.ScanKeyOnly())
		if err != nil {
			return err
		}
		return same(k, v, backKeys[n-20:n-10], nil)
	})
}
