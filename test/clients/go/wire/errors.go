package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
)

const errorKey = "check/wire/errors/key"

// regionError asks the leader of errorKey with a spoiled context; reads and writes must say the same.
func (s *suite) regionError(
	ctx context.Context, spoil func(place, *kvrpcpb.Context), judge func(place, *errorpb.Error) error,
) error {
	at, err := s.locate(ctx, []byte(errorKey))
	if err != nil {
		return err
	}
	request := at.context()
	spoil(at, request)
	got, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: request, Key: []byte(errorKey)})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if err := judge(at, got.GetRegionError()); err != nil {
		return fmt.Errorf("get: %w", err)
	}
	put, err := at.client.RawPut(ctx, &kvrpcpb.RawPutRequest{Context: request, Key: []byte(errorKey), Value: []byte("spoiled")})
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if err := judge(at, put.GetRegionError()); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	// A refused write has no effect.
	after, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: at.context(), Key: []byte(errorKey)})
	if err == nil && bytes.Equal(after.GetValue(), []byte("spoiled")) {
		err = fmt.Errorf("the refused write was applied")
	}
	return err
}

func regionErrors(s *suite) {
	spoiled := func(
		name string, spoil func(place, *kvrpcpb.Context), judge func(place, *errorpb.Error) error,
	) {
		s.Check(name, func(ctx context.Context) error { return s.regionError(ctx, spoil, judge) })
	}
	spoiled("RegionNotFound names the region", func(_ place, c *kvrpcpb.Context) { c.RegionId = 999_999 },
		func(_ place, e *errorpb.Error) error {
			if e.GetRegionNotFound().GetRegionId() != 999_999 {
				return fmt.Errorf("got %v", e)
			}
			return nil
		})
	spoiled("StoreNotMatch names both stores", func(_ place, c *kvrpcpb.Context) { c.Peer.StoreId = 777 },
		func(at place, e *errorpb.Error) error {
			wrong := e.GetStoreNotMatch()
			if wrong.GetRequestStoreId() != 777 || wrong.GetActualStoreId() != at.leader.GetStoreId() {
				return fmt.Errorf("got %v", e)
			}
			return nil
		})
	spoiled("a request without a peer is StoreNotMatch", func(_ place, c *kvrpcpb.Context) { c.Peer = nil },
		func(at place, e *errorpb.Error) error {
			if e.GetStoreNotMatch().GetActualStoreId() != at.leader.GetStoreId() {
				return fmt.Errorf("got %v", e)
			}
			return nil
		})
	staleEpoch := func(name string, spoil func(*metapb.RegionEpoch)) {
		spoiled(name, func(_ place, c *kvrpcpb.Context) { spoil(c.RegionEpoch) }, judgeEpoch)
	}
	staleEpoch("EpochNotMatch of an old version carries the current region", func(e *metapb.RegionEpoch) { e.Version-- })
	staleEpoch("EpochNotMatch of a newer version, too", func(e *metapb.RegionEpoch) { e.Version += 5 })
	spoiled("a request without an epoch is EpochNotMatch", func(_ place, c *kvrpcpb.Context) { c.RegionEpoch = nil }, judgeEpoch)
	spoiled("another peer id on the same store is refused", func(_ place, c *kvrpcpb.Context) { c.Peer.Id = 888_888 },
		func(_ place, e *errorpb.Error) error {
			if e == nil {
				return fmt.Errorf("no region error")
			}
			return nil
		})
	spoiled("an old term is StaleCommand", func(_ place, c *kvrpcpb.Context) { c.Term = 1 },
		func(_ place, e *errorpb.Error) error {
			if e.GetStaleCommand() == nil {
				return fmt.Errorf("got %v", e)
			}
			return nil
		})
	s.Check("NotLeader carries the leader", s.notLeader)
	s.Check("KeyNotInRegion carries the key and the bounds", s.keyNotInRegion)
}

// judgeEpoch wants the current region, whole, in the error.
func judgeEpoch(at place, e *errorpb.Error) error {
	for _, region := range e.GetEpochNotMatch().GetCurrentRegions() {
		if region.GetId() != at.region.GetId() {
			continue
		}
		if region.String() != at.region.String() {
			return fmt.Errorf("got %v, PD says %v", region, at.region)
		}
		return nil
	}
	return fmt.Errorf("got %v", e)
}

func (s *suite) notLeader(ctx context.Context) error {
	at, err := s.locate(ctx, []byte(errorKey))
	if err != nil {
		return err
	}
	follower, err := at.follower()
	if err != nil {
		return err
	}
	request := at.context()
	request.Peer = follower
	judge := func(e *errorpb.Error) error {
		wrong := e.GetNotLeader()
		if wrong.GetRegionId() != at.region.GetId() || wrong.GetLeader().GetId() != at.leader.GetId() ||
			wrong.GetLeader().GetStoreId() != at.leader.GetStoreId() {
			return fmt.Errorf("got %v, leader is %v", e, at.leader)
		}
		return nil
	}
	client := s.store(follower.GetStoreId())
	get, err := client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: request, Key: []byte(errorKey)})
	if err != nil {
		return err
	}
	if err := judge(get.GetRegionError()); err != nil {
		return err
	}
	put, err := client.RawPut(ctx, &kvrpcpb.RawPutRequest{Context: request, Key: []byte(errorKey), Value: []byte("x")})
	if err != nil {
		return err
	}
	return judge(put.GetRegionError())
}

func (s *suite) keyNotInRegion(ctx context.Context) error {
	at, err := s.bounded(ctx)
	if err != nil {
		return err
	}
	outside := append(bytes.Clone(at.region.GetEndKey()), 'x')
	judge := func(what string, e *errorpb.Error) error {
		wrong := e.GetKeyNotInRegion()
		if wrong.GetRegionId() != at.region.GetId() || !bytes.Equal(wrong.GetKey(), outside) ||
			!bytes.Equal(wrong.GetStartKey(), at.region.GetStartKey()) || !bytes.Equal(wrong.GetEndKey(), at.region.GetEndKey()) {
			return fmt.Errorf("%s: got %v", what, e)
		}
		return nil
	}
	get, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: at.context(), Key: outside})
	if err != nil {
		return err
	}
	if err := judge("get", get.GetRegionError()); err != nil {
		return err
	}
	put, err := at.client.RawPut(ctx, &kvrpcpb.RawPutRequest{Context: at.context(), Key: outside, Value: []byte("x")})
	if err != nil {
		return err
	}
	if err := judge("put", put.GetRegionError()); err != nil {
		return err
	}
	remove, err := at.client.RawDelete(ctx, &kvrpcpb.RawDeleteRequest{Context: at.context(), Key: outside})
	if err != nil {
		return err
	}
	return judge("delete", remove.GetRegionError())
}
