package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tikv/client-go/v2/rawkv"
)

// register is what is known of one key. Times are compared by order of loads and stores alone: a bound is read before
// an operation begins and raised after it ended.
type register struct {
	key          string
	sent         atomic.Int64 // the highest value ever sent
	acknowledged atomic.Int64
	seen         atomic.Int64 // the highest value that a read gave
}

type writer struct {
	out      string
	prefix   string
	workers  int
	readers  int
	keys     int
	size     int
	duration time.Duration
	timeout  time.Duration

	file   *os.File
	fileMu sync.Mutex

	acknowledged atomic.Int64
	reads        atomic.Int64
	errors       atomic.Int64
	lastError    atomic.Value
	violations   atomic.Int64

	gapMu  sync.Mutex
	lastOk time.Time
	maxGap time.Duration
}

type writeSummary struct {
	Acknowledged int64  `json:"acknowledged"`
	Reads        int64  `json:"reads"`
	Errors       int64  `json:"errors"`
	Violations   int64  `json:"violations"`
	MaxGapMs     int64  `json:"maxGapMs"` // the longest time in which no write was acknowledged
	LastError    string `json:"lastError,omitempty"`
}

func (w *writer) setSeconds(text string) error {
	seconds, err := strconv.ParseFloat(text, 64)
	if err == nil && seconds <= 0 {
		err = fmt.Errorf("must be above 0")
	}
	w.duration = time.Duration(seconds * float64(time.Second))
	return err
}

func (w *writer) run(client *rawkv.Client) (any, bool, error) {
	if w.out == "" || w.workers < 1 || w.keys < 1 {
		return nil, false, fmt.Errorf("-out is missing, or -workers or -keys is below 1")
	}
	if w.prefix == "" {
		w.prefix = fmt.Sprintf("history/%016x/", rand.Uint64())
	}
	var err error
	if w.file, err = os.OpenFile(w.out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, false, err
	}
	defer w.file.Close()
	registers := make([]*register, w.workers*w.keys)
	for i := range registers {
		// The writer's number comes last, so that neighbours in key order belong to different writers.
		registers[i] = &register{key: fmt.Sprintf("%s%04d/%04d", w.prefix, i/w.workers, i%w.workers)}
	}
	w.lastOk = time.Now()
	stop := time.Now().Add(w.duration)
	var all sync.WaitGroup
	all.Add(w.workers + w.readers)
	for worker := range w.workers {
		go func() {
			defer all.Done()
			w.write(client, registers, worker, stop)
		}()
	}
	for range w.readers {
		go func() {
			defer all.Done()
			w.read(client, registers, stop)
		}()
	}
	all.Wait()
	w.pause(time.Now())
	summary := writeSummary{
		Acknowledged: w.acknowledged.Load(), Reads: w.reads.Load(), Errors: w.errors.Load(),
		Violations: w.violations.Load(), MaxGapMs: w.maxGap.Milliseconds(),
	}
	summary.LastError, _ = w.lastError.Load().(string)
	return summary, summary.Violations > 0, nil
}

// write goes over the worker's keys, round after round, each round with the next value.
func (w *writer) write(client *rawkv.Client, registers []*register, worker int, stop time.Time) {
	for value := int64(1); ; value++ {
		for i := worker; i < len(registers); i += w.workers {
			if !time.Now().Before(stop) {
				return
			}
			at := registers[i]
			at.sent.Store(value)
			ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
			err := client.Put(ctx, []byte(at.key), encode(value, w.size))
			cancel()
			if err != nil {
				w.failed(err)
				continue
			}
			at.acknowledged.Store(value)
			w.keep(record{Key: at.key, Value: value, UnixMs: time.Now().UnixMilli()})
			w.pause(time.Now())
		}
	}
}

// read takes turns: one key, then a scan over neighbours, which have other writers.
func (w *writer) read(client *rawkv.Client, registers []*register, stop time.Time) {
	for turn := 0; time.Now().Before(stop); turn++ {
		from, count := rand.IntN(len(registers)), 1
		if turn%2 == 1 {
			count = min(scanned, len(registers)-from)
		}
		some := registers[from : from+count]
		least := make([]int64, count)
		for i, at := range some {
			least[i] = max(at.acknowledged.Load(), at.seen.Load())
		}
		ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
		found, err := w.lookUp(ctx, client, some)
		cancel()
		if err != nil {
			w.failed(err)
			continue
		}
		w.reads.Add(1)
		for i, at := range some {
			w.judge(at, found[at.key], least[i])
		}
	}
}

// scanned is how many keys one scan covers.
const scanned = 32

// lookUp reads one key by a get, several neighbours by a scan.
func (w *writer) lookUp(ctx context.Context, client *rawkv.Client, some []*register) (map[string][]byte, error) {
	first, last := []byte(some[0].key), []byte(some[len(some)-1].key)
	if len(some) == 1 {
		value, err := client.Get(ctx, first)
		return map[string][]byte{some[0].key: value}, err
	}
	keys, values, err := client.Scan(ctx, first, append(last, 0), len(some))
	found := map[string][]byte{}
	for i, key := range keys {
		found[string(key)] = values[i]
	}
	return found, err
}

func (w *writer) judge(at *register, raw []byte, least int64) {
	value, err := decode(raw)
	if most := at.sent.Load(); err != nil || value < least || value > most {
		w.violations.Add(1)
		fmt.Fprintf(os.Stderr, "VIOLATION %s: read %d, wanted %d to %d (%v)\n", at.key, value, least, most, err)
		return
	}
	for seen := at.seen.Load(); value > seen && !at.seen.CompareAndSwap(seen, value); seen = at.seen.Load() {
	}
}

func (w *writer) failed(err error) {
	w.errors.Add(1)
	w.lastError.Store(err.Error())
	// A cluster that refuses at once must not be hammered.
	time.Sleep(10 * time.Millisecond)
}

// keep appends the record with one write, so that a reader of the file never sees half a line that later grows.
func (w *writer) keep(r record) {
	line, _ := json.Marshal(r)
	w.fileMu.Lock()
	defer w.fileMu.Unlock()
	if _, err := w.file.Write(append(line, '\n')); err != nil {
		fail(err)
	}
	w.acknowledged.Add(1)
}

// pause notes the time since the last acknowledged write.
func (w *writer) pause(now time.Time) {
	w.gapMu.Lock()
	defer w.gapMu.Unlock()
	w.maxGap = max(w.maxGap, now.Sub(w.lastOk))
	w.lastOk = now
}

// encode fills a value up to its size; the number comes first.
func encode(value int64, size int) []byte {
	text := fmt.Sprintf("%d ", value)
	return []byte(text + strings.Repeat(".", max(0, size-len(text))))
}

// decode is 0 for an absent key.
func decode(raw []byte) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	number, _, _ := strings.Cut(string(raw), " ")
	return strconv.ParseInt(number, 10, 64)
}
