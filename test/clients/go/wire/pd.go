package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"

	"raftwerk.dev/clients/checks"
)

func placementDriver(s *suite) {
	s.Check("GetMembers has a leader with an id and addresses with a scheme", func(ctx context.Context) error {
		answer, err := s.pd.GetMembers(ctx, &pdpb.GetMembersRequest{})
		if err != nil {
			return err
		}
		if answer.GetHeader().GetClusterId() == 0 || answer.GetLeader().GetMemberId() == 0 {
			return fmt.Errorf("got %v", answer)
		}
		for _, address := range answer.GetLeader().GetClientUrls() {
			if parsed, err := url.Parse(address); err == nil && parsed.Scheme != "" && parsed.Host != "" {
				return nil
			}
		}
		return fmt.Errorf("client addresses %v", answer.GetLeader().GetClientUrls())
	})
	s.Check("a foreign cluster id is FAILED_PRECONDITION at PD", func(ctx context.Context) error {
		_, err := s.pd.GetAllStores(ctx, &pdpb.GetAllStoresRequest{Header: &pdpb.RequestHeader{ClusterId: 1}})
		return expectCode(err, codes.FailedPrecondition)
	})
	s.Check("AllocID gives each id once", func(ctx context.Context) error {
		seen := map[uint64]bool{}
		for range 50 {
			answer, err := s.pd.AllocID(ctx, &pdpb.AllocIDRequest{Header: s.header()})
			if err != nil || answer.GetId() == 0 || seen[answer.GetId()] {
				return fmt.Errorf("%v %v", answer, err)
			}
			seen[answer.GetId()] = true
		}
		return nil
	})
	s.Check("stores have addresses without a scheme, and versions", func(ctx context.Context) error {
		answer, err := s.pd.GetAllStores(ctx, &pdpb.GetAllStoresRequest{Header: s.header()})
		if err != nil {
			return err
		}
		for _, store := range answer.GetStores() {
			if store.GetVersion() == "" || store.GetAddress() == "" || bytes.Contains([]byte(store.GetAddress()), []byte("//")) {
				return fmt.Errorf("store %v", store)
			}
			one, err := s.pd.GetStore(ctx, &pdpb.GetStoreRequest{Header: s.header(), StoreId: store.GetId()})
			if err != nil || one.GetStore().GetAddress() != store.GetAddress() {
				return fmt.Errorf("store %d: %v %v", store.GetId(), one, err)
			}
		}
		return nil
	})
	s.Check("ScanRegions tiles the key space", func(ctx context.Context) error {
		return checks.Eventually("a tiled key space", func() (bool, error) {
			err := s.tiling(ctx)
			return err == nil, err
		})
	})
	s.Check("GetPrevRegion ends where the region begins", func(ctx context.Context) error {
		at, err := s.bounded(ctx)
		if err != nil {
			return err
		}
		request := &pdpb.GetRegionRequest{Header: s.header(), RegionKey: []byte("check/wire/bounded/m")}
		// The parts of a split report to PD one by one: until the left one has, PD knows of nothing there.
		return checks.Eventually("the left neighbour in PD", func() (bool, error) {
			answer, err := s.pd.GetPrevRegion(ctx, request)
			return err == nil && bytes.Equal(answer.GetRegion().GetEndKey(), at.region.GetStartKey()), err
		})
	})
	s.Check("GetRegionByID of an unknown region is empty", func(ctx context.Context) error {
		request := &pdpb.GetRegionByIDRequest{Header: s.header(), RegionId: 99_999_999}
		answer, err := s.pd.GetRegionByID(ctx, request)
		if err == nil && answer.GetRegion() != nil {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	})
	s.Check("Tso gives counts as asked, always upwards, and ends with the client", s.timestamps)
}

func (s *suite) tiling(ctx context.Context) error {
	answer, err := s.pd.ScanRegions(ctx, &pdpb.ScanRegionsRequest{Header: s.header(), Limit: -1})
	if err != nil {
		return err
	}
	var end []byte
	for i, region := range answer.GetRegions() {
		meta := region.GetRegion()
		if !bytes.Equal(meta.GetStartKey(), end) || (i > 0 && len(end) == 0) {
			return fmt.Errorf("region %v begins elsewhere than %q", meta, end)
		}
		end = meta.GetEndKey()
	}
	if len(answer.GetRegions()) == 0 || len(end) != 0 {
		return fmt.Errorf("%d regions, the last ends at %q", len(answer.GetRegions()), end)
	}
	return nil
}

func (s *suite) timestamps(ctx context.Context) error {
	stream, err := s.pd.Tso(ctx)
	if err != nil {
		return err
	}
	var last uint64
	for i := range 20 {
		count := uint32(1 + i*50)
		if err := stream.Send(&pdpb.TsoRequest{Header: s.header(), Count: count}); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		stamp := answer.GetTimestamp()
		// The answer names the last of its timestamps.
		end := uint64(stamp.GetPhysical())<<18 + uint64(stamp.GetLogical())
		if answer.GetCount() != count || end < last+uint64(count) {
			return fmt.Errorf("asked for %d after %d: %v", count, last, answer)
		}
		last = end
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if answer, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("after the end: %v %v", answer, err)
	}
	return nil
}
