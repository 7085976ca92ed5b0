package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// All keys of these checks come before `usertable:`: scans of go-ycsb run to the end of the key space.
func rawKey(name string) []byte { return []byte("check/wire/raw/" + name) }

// raw runs a check with the place of the raw keys and three pairs written.
func (s *suite) raw(name string, run func(context.Context, place) error) {
	s.Check(name, func(ctx context.Context) error {
		at, err := s.locate(ctx, rawKey("a"))
		if err != nil {
			return err
		}
		clean := &kvrpcpb.RawDeleteRangeRequest{Context: at.context(), StartKey: rawKey(""), EndKey: rawKey("~")}
		if answer, err := at.client.RawDeleteRange(ctx, clean); err != nil || answer.GetRegionError() != nil {
			return fmt.Errorf("delete range: %v %v", answer, err)
		}
		pairs := []*kvrpcpb.KvPair{}
		for _, letter := range []string{"a", "b", "c"} {
			pairs = append(pairs, &kvrpcpb.KvPair{Key: rawKey(letter), Value: []byte("value " + letter)})
		}
		put, err := at.client.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Context: at.context(), Pairs: pairs})
		if err != nil || put.GetRegionError() != nil || put.GetError() != "" {
			return fmt.Errorf("batch put: %v %v", put, err)
		}
		return run(ctx, at)
	})
}

// expectPairs compares "key=value" texts, keys without their prefix.
func expectPairs(pairs []*kvrpcpb.KvPair, want ...string) error {
	got := []string{}
	for _, pair := range pairs {
		got = append(got, fmt.Sprintf("%s=%s", bytes.TrimPrefix(pair.GetKey(), rawKey("")), pair.GetValue()))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

func rawCommands(s *suite) {
	s.raw("RawGet of an absent key says not_found", func(ctx context.Context, at place) error {
		answer, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: at.context(), Key: rawKey("no")})
		if err == nil && (!answer.GetNotFound() || answer.GetError() != "" || answer.GetRegionError() != nil) {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	})
	s.raw("RawGet of an empty value does not say not_found", func(ctx context.Context, at place) error {
		put, err := at.client.RawPut(ctx, &kvrpcpb.RawPutRequest{Context: at.context(), Key: rawKey("e")})
		if err != nil || put.String() != "" {
			return fmt.Errorf("put: %v %v", put, err)
		}
		answer, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: at.context(), Key: rawKey("e")})
		if err == nil && answer.String() != "" {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	})
	s.raw("RawBatchGet leaves absent keys out", func(ctx context.Context, at place) error {
		keys := [][]byte{rawKey("c"), rawKey("no"), rawKey("a")}
		answer, err := at.client.RawBatchGet(ctx, &kvrpcpb.RawBatchGetRequest{Context: at.context(), Keys: keys})
		if err != nil {
			return err
		}
		return expectPairs(answer.GetPairs(), "c=value c", "a=value a")
	})
	s.raw("RawBatchGet of no keys", func(ctx context.Context, at place) error {
		answer, err := at.client.RawBatchGet(ctx, &kvrpcpb.RawBatchGetRequest{Context: at.context()})
		if err == nil && (answer.GetRegionError() != nil || len(answer.GetPairs()) != 0) {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	})
	s.raw("RawGetKeyTTL", func(ctx context.Context, at place) error {
		put := &kvrpcpb.RawPutRequest{Context: at.context(), Key: rawKey("t"), Value: []byte("x"), Ttl: 100}
		if _, err := at.client.RawPut(ctx, put); err != nil {
			return err
		}
		for key, want := range map[string][2]uint64{"t": {95, 100}, "a": {0, 0}} {
			request := &kvrpcpb.RawGetKeyTTLRequest{Context: at.context(), Key: rawKey(key)}
			answer, err := at.client.RawGetKeyTTL(ctx, request)
			if err != nil || answer.GetTtl() < want[0] || answer.GetTtl() > want[1] || answer.GetNotFound() {
				return fmt.Errorf("key %s: %v %v", key, answer, err)
			}
		}
		answer, err := at.client.RawGetKeyTTL(ctx, &kvrpcpb.RawGetKeyTTLRequest{Context: at.context(), Key: rawKey("no")})
		if err == nil && !answer.GetNotFound() {
			err = fmt.Errorf("absent key: %v", answer)
		}
		return err
	})
	scanChecks(s)
	swapChecks(s)
}

func scanChecks(s *suite) {
	scan := func(name string, request kvrpcpb.RawScanRequest, want ...string) {
		s.raw("RawScan "+name, func(ctx context.Context, at place) error {
			request.Context = at.context()
			answer, err := at.client.RawScan(ctx, &request)
			if err != nil || answer.GetRegionError() != nil {
				return fmt.Errorf("%v %v", answer, err)
			}
			return expectPairs(answer.GetKvs(), want...)
		})
	}
	start, end := rawKey(""), rawKey("~")
	scan("with a limit", kvrpcpb.RawScanRequest{StartKey: start, EndKey: end, Limit: 2}, "a=value a", "b=value b")
	scan("of keys only", kvrpcpb.RawScanRequest{StartKey: start, EndKey: end, Limit: 9, KeyOnly: true}, "a=", "b=", "c=")
	scan("with limit 0 gives nothing", kvrpcpb.RawScanRequest{StartKey: start, EndKey: end})
	scan("backwards", kvrpcpb.RawScanRequest{StartKey: end, EndKey: start, Limit: 2, Reverse: true}, "c=value c", "b=value b")
	scan("backwards leaves the start out and takes the end in",
		kvrpcpb.RawScanRequest{StartKey: rawKey("c"), EndKey: rawKey("a"), Limit: 9, Reverse: true}, "b=value b", "a=value a")
	scan("with start after end gives nothing", kvrpcpb.RawScanRequest{StartKey: rawKey("c"), EndKey: rawKey("a"), Limit: 9})
	s.raw("RawBatchScan takes each_limit of every range", func(ctx context.Context, at place) error {
		ranges := []*kvrpcpb.KeyRange{{StartKey: rawKey("b"), EndKey: end}, {StartKey: start, EndKey: rawKey("b")}}
		answer, err := at.client.RawBatchScan(ctx,
			&kvrpcpb.RawBatchScanRequest{Context: at.context(), Ranges: ranges, EachLimit: 1})
		if err != nil || answer.GetRegionError() != nil {
			return fmt.Errorf("%v %v", answer, err)
		}
		return expectPairs(answer.GetKvs(), "b=value b", "a=value a")
	})
	s.raw("RawDeleteRange with start after end is refused and deletes nothing", func(ctx context.Context, at place) error {
		request := &kvrpcpb.RawDeleteRangeRequest{Context: at.context(), StartKey: rawKey("c"), EndKey: rawKey("a")}
		answer, err := at.client.RawDeleteRange(ctx, request)
		if err == nil && answer.GetRegionError() == nil && answer.GetError() == "" {
			return fmt.Errorf("accepted")
		}
		kept, err := at.client.RawScan(ctx,
			&kvrpcpb.RawScanRequest{Context: at.context(), StartKey: start, EndKey: end, Limit: 9, KeyOnly: true})
		if err != nil {
			return err
		}
		return expectPairs(kept.GetKvs(), "a=", "b=", "c=")
	})
}

func swapChecks(s *suite) {
	swap := func(name string, request kvrpcpb.RawCASRequest, want kvrpcpb.RawCASResponse) {
		s.raw("RawCompareAndSwap "+name, func(ctx context.Context, at place) error {
			request.Context = at.context()
			answer, err := at.client.RawCompareAndSwap(ctx, &request)
			if err == nil && answer.String() != want.String() {
				err = fmt.Errorf("got %v, want %v", answer, &want)
			}
			return err
		})
	}
	swap("that differs gives what is there",
		kvrpcpb.RawCASRequest{Key: rawKey("a"), Value: []byte("n"), PreviousValue: []byte("zz")},
		kvrpcpb.RawCASResponse{PreviousValue: []byte("value a")})
	swap("that swaps gives what was there",
		kvrpcpb.RawCASRequest{Key: rawKey("a"), Value: []byte("n"), PreviousValue: []byte("value a")},
		kvrpcpb.RawCASResponse{Succeed: true, PreviousValue: []byte("value a")})
	swap("of a key that must be absent and is",
		kvrpcpb.RawCASRequest{Key: rawKey("no"), Value: []byte("n"), PreviousNotExist: true},
		kvrpcpb.RawCASResponse{Succeed: true, PreviousNotExist: true})
	swap("of a key that must be absent and is not",
		kvrpcpb.RawCASRequest{Key: rawKey("b"), Value: []byte("n"), PreviousNotExist: true},
		kvrpcpb.RawCASResponse{PreviousValue: []byte("value b")})
}
