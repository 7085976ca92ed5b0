package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"raftwerk.dev/clients/checks"
)

// split cuts the region of the first key at all keys; the regions it became.
func (s *suite) split(ctx context.Context, keys ...[]byte) ([]*metapb.Region, error) {
	var regions []*metapb.Region
	err := checks.Eventually("the split", func() (bool, error) {
		at, err := s.locate(ctx, keys[0])
		if err != nil {
			return false, err
		}
		answer, err := at.client.SplitRegion(ctx,
			&kvrpcpb.SplitRegionRequest{Context: at.context(), SplitKeys: keys, IsRawKv: true})
		if err != nil {
			return false, err
		}
		if wrong := answer.GetRegionError(); wrong != nil {
			return false, fmt.Errorf("%v", wrong)
		}
		regions = answer.GetRegions()
		return true, nil
	})
	return regions, err
}

// bounded gives a region that has a start and an end, around a key of its own.
func (s *suite) bounded(ctx context.Context) (place, error) {
	for _, bound := range []string{"check/wire/bounded/a", "check/wire/bounded/z"} {
		at, err := s.locate(ctx, []byte(bound))
		if err != nil {
			return place{}, err
		}
		if bytes.Equal(at.region.GetStartKey(), []byte(bound)) {
			continue
		}
		if _, err := s.split(ctx, []byte(bound)); err != nil {
			return place{}, err
		}
	}
	var found place
	err := checks.Eventually("PD to know the split", func() (bool, error) {
		at, err := s.locate(ctx, []byte("check/wire/bounded/m"))
		found = at
		return err == nil && len(at.region.GetStartKey()) > 0 && len(at.region.GetEndKey()) > 0, err
	})
	return found, err
}

func splits(s *suite) {
	s.Check("SplitRegion answers the parts in key order, the last with the old id", s.splitAtTwo)
	s.Check("EpochNotMatch after a split carries the parts", s.staleAfterSplit)
	s.Check("PD finds every part of a split", s.partsInPD)
}

// fresh is a bounded region of this check's own, not yet cut.
func (s *suite) fresh(ctx context.Context, name string) (place, func(string) []byte, error) {
	clock, err := s.pd.AllocID(ctx, &pdpb.AllocIDRequest{Header: s.header()})
	if err != nil {
		return place{}, nil, err
	}
	prefix := fmt.Sprintf("check/wire/split/%s/%020d/", name, clock.GetId())
	key := func(suffix string) []byte { return []byte(prefix + suffix) }
	at, err := s.locate(ctx, key("a"))
	return at, key, err
}

func (s *suite) splitAtTwo(ctx context.Context) error {
	before, key, err := s.fresh(ctx, "two")
	if err != nil {
		return err
	}
	parts, err := s.split(ctx, key("h"), key("p"))
	if err != nil {
		return err
	}
	if len(parts) != 3 {
		return fmt.Errorf("%d parts: %v", len(parts), parts)
	}
	bounds := [][]byte{before.region.GetStartKey(), key("h"), key("p"), before.region.GetEndKey()}
	for i, part := range parts {
		if !bytes.Equal(part.GetStartKey(), bounds[i]) || !bytes.Equal(part.GetEndKey(), bounds[i+1]) {
			return fmt.Errorf("part %d is %v", i, part)
		}
		// Every part adds the number of cuts to the version and keeps the membership's.
		was, epoch := before.region.GetRegionEpoch(), part.GetRegionEpoch()
		if epoch.GetConfVer() != was.GetConfVer() || epoch.GetVersion() != was.GetVersion()+2 ||
			len(part.GetPeers()) != len(before.region.GetPeers()) {
			return fmt.Errorf("part %d is %v, was %v", i, part, before.region)
		}
	}
	if parts[2].GetId() != before.region.GetId() || parts[0].GetId() == parts[1].GetId() {
		return fmt.Errorf("ids of the parts: %v", parts)
	}
	return nil
}

func (s *suite) staleAfterSplit(ctx context.Context) error {
	before, key, err := s.fresh(ctx, "stale")
	if err != nil {
		return err
	}
	parts, err := s.split(ctx, key("m"))
	if err != nil {
		return err
	}
	request := &kvrpcpb.RawPutRequest{Context: before.context(), Key: key("b"), Value: []byte("x")}
	answer, err := before.client.RawPut(ctx, request)
	if err != nil {
		return err
	}
	current := answer.GetRegionError().GetEpochNotMatch().GetCurrentRegions()
	for _, part := range parts {
		found := false
		for _, region := range current {
			found = found || region.String() == part.String()
		}
		if !found {
			return fmt.Errorf("%v is missing in %v", part, answer.GetRegionError())
		}
	}
	return nil
}

func (s *suite) partsInPD(ctx context.Context) error {
	_, key, err := s.fresh(ctx, "known")
	if err != nil {
		return err
	}
	parts, err := s.split(ctx, key("c"), key("f"), key("k"))
	if err != nil {
		return err
	}
	for _, part := range parts {
		err := checks.Eventually("PD's knowledge of the part", func() (bool, error) {
			answer, err := s.pd.GetRegionByID(ctx, &pdpb.GetRegionByIDRequest{Header: s.header(), RegionId: part.GetId()})
			if err != nil {
				return false, err
			}
			now := answer.GetRegion()
			return bytes.Equal(now.GetStartKey(), part.GetStartKey()) && bytes.Equal(now.GetEndKey(), part.GetEndKey()) &&
				answer.GetLeader().GetId() != 0, fmt.Errorf("PD has %v for %v", now, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
