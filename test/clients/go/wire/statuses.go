package main

import (
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

func expectCode(err error, want codes.Code) error {
	if got := status.Code(err); got != want {
		return fmt.Errorf("status %s, want %s (%v)", got, want, err)
	}
	return nil
}

// withClusterID sets field 35 of the context, which this revision of the messages does not have yet.
func withClusterID(request *kvrpcpb.Context, id uint64) {
	request.XXX_unrecognized = protowire.AppendVarint(protowire.AppendTag(nil, 35, protowire.VarintType), id)
}

// anyStore is one of the stores' connections.
func (s *suite) anyStore() *grpc.ClientConn {
	for _, conn := range s.conns {
		return conn
	}
	return s.pdConn
}

func statuses(s *suite) {
	servers := map[string]*grpc.ClientConn{"store": s.anyStore(), "PD": s.pdConn}
	for _, name := range []string{"store", "PD"} {
		conn := servers[name]
		unknown := func(path string) {
			s.Check(fmt.Sprintf("%s answers %s UNIMPLEMENTED", name, path), func(ctx context.Context) error {
				request, response := &kvrpcpb.RawGetRequest{}, &kvrpcpb.RawGetResponse{}
				return expectCode(conn.Invoke(ctx, path, request, response), codes.Unimplemented)
			})
		}
		unknown("/tikvpb.Tikv/NoSuchMethod")
		unknown("/no.such.Service/Method")
		unknown("/pdpb.PD/NoSuchMethod")
		s.Check(name+" is healthy", func(ctx context.Context) error {
			client := grpc_health_v1.NewHealthClient(conn)
			answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			if err == nil && answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
				err = fmt.Errorf("status %v", answer.GetStatus())
			}
			return err
		})
	}
	s.Check("a foreign cluster id is INVALID_ARGUMENT at a store", func(ctx context.Context) error {
		at, err := s.locate(ctx, rawKey("a"))
		if err != nil {
			return err
		}
		request := at.context()
		withClusterID(request, 5)
		_, err = at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: request, Key: rawKey("a")})
		return expectCode(err, codes.InvalidArgument)
	})
	s.Check("the right cluster id is accepted", func(ctx context.Context) error {
		at, err := s.locate(ctx, rawKey("a"))
		if err != nil {
			return err
		}
		request := at.context()
		withClusterID(request, s.clusterID)
		answer, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: request, Key: rawKey("a")})
		if err == nil && answer.GetRegionError() != nil {
			err = fmt.Errorf("got %v", answer)
		}
		return err
	})
	s.Check("another API version is refused", func(ctx context.Context) error {
		at, err := s.locate(ctx, rawKey("a"))
		if err != nil {
			return err
		}
		request := at.context()
		request.ApiVersion = kvrpcpb.APIVersion_V2
		answer, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: request, Key: rawKey("a")})
		if err != nil {
			return err
		}
		// No region error: after that a client would ask again.
		if answer.GetError() == "" || answer.GetRegionError() != nil {
			return fmt.Errorf("got %v", answer)
		}
		scan, err := at.client.RawScan(ctx, &kvrpcpb.RawScanRequest{Context: request, StartKey: rawKey(""), Limit: 1})
		if err == nil && (len(scan.GetKvs()) != 1 || scan.GetKvs()[0].GetError().GetAbort() == "") {
			err = fmt.Errorf("got %v", scan)
		}
		return err
	})
	s.Check("a value above the entry limit is RaftEntryTooLarge", func(ctx context.Context) error {
		at, err := s.locate(ctx, rawKey("a"))
		if err != nil {
			return err
		}
		request := &kvrpcpb.RawPutRequest{Context: at.context(), Key: rawKey("huge"), Value: make([]byte, 9<<20)}
		answer, err := at.client.RawPut(ctx, request)
		if err != nil {
			return err
		}
		wrong := answer.GetRegionError().GetRaftEntryTooLarge()
		if wrong.GetRegionId() != at.region.GetId() || wrong.GetEntrySize() < 9<<20 {
			return fmt.Errorf("got %v, error %q", answer.GetRegionError(), answer.GetError())
		}
		return nil
	})
}
