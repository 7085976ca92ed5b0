// wire speaks TiKV's protocol to a cluster without a client library in between, and checks what a library never shows:
// the fields of region errors, answers in batches, statuses of calls that no server knows.
// Prints one line per check and ends with "N passed, M failed".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"raftwerk.dev/clients/checks"
)

// suite holds the connections that the checks share.
type suite struct {
	checks.Counter
	pd        pdpb.PDClient
	pdConn    *grpc.ClientConn
	clusterID uint64
	conns     map[uint64]*grpc.ClientConn
}

func dial(ctx context.Context, address string) (*grpc.ClientConn, error) {
	return grpc.DialContext(ctx, address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithBlock(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
}

func open(ctx context.Context, address string) (*suite, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	s := &suite{pdConn: conn, pd: pdpb.NewPDClient(conn), conns: map[uint64]*grpc.ClientConn{}}
	members, err := s.pd.GetMembers(ctx, &pdpb.GetMembersRequest{})
	if err != nil {
		return nil, err
	}
	s.clusterID = members.GetHeader().GetClusterId()
	stores, err := s.pd.GetAllStores(ctx, &pdpb.GetAllStoresRequest{Header: s.header()})
	if err != nil {
		return nil, err
	}
	for _, store := range stores.GetStores() {
		if s.conns[store.GetId()], err = dial(ctx, store.GetAddress()); err != nil {
			return nil, fmt.Errorf("store %d: %w", store.GetId(), err)
		}
	}
	return s, nil
}

// Check runs a check, once more if a leader moved or a region split under it: the cluster balances itself meanwhile,
// and this program has no client that would ask again. An error that stays is told.
func (s *suite) Check(name string, run func(context.Context) error) {
	s.Counter.Check(name, func(ctx context.Context) error {
		var err error
		for range 10 {
			if err = run(ctx); err == nil || !moved(err) {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		return err
	})
}

func moved(err error) bool {
	text := err.Error()
	return strings.Contains(text, "not_leader:<") || strings.Contains(text, "epoch_not_match:<")
}

func (s *suite) header() *pdpb.RequestHeader { return &pdpb.RequestHeader{ClusterId: s.clusterID} }

func (s *suite) store(id uint64) tikvpb.TikvClient { return tikvpb.NewTikvClient(s.conns[id]) }

// place is where a key lives: its region and the leader.
type place struct {
	region *metapb.Region
	leader *metapb.Peer
	client tikvpb.TikvClient
}

func (s *suite) locate(ctx context.Context, key []byte) (place, error) {
	var found place
	err := checks.Eventually("a region with a leader", func() (bool, error) {
		answer, err := s.pd.GetRegion(ctx, &pdpb.GetRegionRequest{Header: s.header(), RegionKey: key})
		if err != nil || answer.GetLeader().GetStoreId() == 0 {
			return false, err
		}
		found = place{answer.GetRegion(), answer.GetLeader(), s.store(answer.GetLeader().GetStoreId())}
		return true, nil
	})
	return found, err
}

// context makes the context of a request to the leader, of its own so that a check can spoil it.
func (p place) context() *kvrpcpb.Context {
	epoch, peer := *p.region.GetRegionEpoch(), *p.leader
	return &kvrpcpb.Context{RegionId: p.region.GetId(), RegionEpoch: &epoch, Peer: &peer}
}

// follower is a peer of the region that does not lead.
func (p place) follower() (*metapb.Peer, error) {
	for _, peer := range p.region.GetPeers() {
		if peer.GetId() != p.leader.GetId() {
			return peer, nil
		}
	}
	return nil, fmt.Errorf("region %d has one peer alone", p.region.GetId())
}

func main() {
	pd := flag.String("pd", "127.0.0.1:2379", "address of PD")
	flag.Parse()
	checks.Quiet()
	ctx, cancel := context.WithTimeout(context.Background(), checks.Limit)
	s, err := open(ctx, *pd)
	cancel()
	if err != nil {
		fmt.Printf("FAIL connect: %s\n0 passed, 1 failed\n", err)
		os.Exit(1)
	}
	placementDriver(s)
	rawCommands(s)
	regionErrors(s)
	splits(s)
	batchCommands(s)
	statuses(s)
	s.Finish()
}
