package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tikv/client-go/v2/rawkv"
)

type verifier struct {
	in   string
	wait time.Duration
}

type verifySummary struct {
	Records    int   `json:"records"`
	Keys       int   `json:"keys"`
	Violations int   `json:"violations"`
	TookMs     int64 `json:"tookMs"`
}

// highest is the highest acknowledged value of each key, and how many records there are.
func (v *verifier) highest() (map[string]int64, int, error) {
	file, err := os.Open(v.in)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	highest, records := map[string]int64{}, 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r record
		// The last line may be cut short when the writer itself was killed; its write then counts as not acknowledged.
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		records++
		highest[r.Key] = max(highest[r.Key], r.Value)
	}
	return highest, records, lines.Err()
}

func (v *verifier) run(client *rawkv.Client) (any, bool, error) {
	began := time.Now()
	want, records, err := v.highest()
	if err != nil || records == 0 {
		return nil, false, fmt.Errorf("%s has %d records: %v", v.in, records, err)
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	violations := 0
	for chunk := range slices.Chunk(names, 500) {
		keys := make([][]byte, len(chunk))
		for i, name := range chunk {
			keys[i] = []byte(name)
		}
		values, err := v.answer(func(ctx context.Context) ([][]byte, error) { return client.BatchGet(ctx, keys) })
		if err != nil {
			return nil, false, err
		}
		scanned, err := v.answer(func(ctx context.Context) ([][]byte, error) { return scan(ctx, client, keys) })
		if err != nil {
			return nil, false, err
		}
		for i, name := range chunk {
			for way, raw := range map[string][]byte{"batch get": values[i], "scan": scanned[i]} {
				value, err := decode(raw)
				if err != nil || value < want[name] {
					violations++
					fmt.Fprintf(os.Stderr, "VIOLATION %s: %s gives %d, acknowledged was %d (%v)\n", name, way, value, want[name], err)
				}
			}
		}
	}
	took := time.Since(began).Milliseconds()
	return verifySummary{records, len(want), violations, took}, violations > 0, nil
}

// scan reads the keys, which are sorted, by scans over their range; an absent key gives nil.
func scan(ctx context.Context, client *rawkv.Client, keys [][]byte) ([][]byte, error) {
	found := make([][]byte, len(keys))
	next, end := keys[0], append(bytes.Clone(keys[len(keys)-1]), 0)
	for {
		gotKeys, values, err := client.Scan(ctx, next, end, 100)
		if err != nil {
			return nil, err
		}
		for i, key := range gotKeys {
			if at, ok := slices.BinarySearchFunc(keys, key, bytes.Compare); ok {
				found[at] = values[i]
			}
		}
		if len(gotKeys) < 100 {
			return found, nil
		}
		next = append(bytes.Clone(gotKeys[len(gotKeys)-1]), 0)
	}
}

// answer repeats a read that fails, as a cluster does that is just recovering.
func (v *verifier) answer(read func(context.Context) ([][]byte, error)) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), v.wait)
	defer cancel()
	for {
		values, err := read(ctx)
		if err == nil || ctx.Err() != nil {
			return values, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
