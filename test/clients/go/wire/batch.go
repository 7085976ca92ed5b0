package main

import (
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

type (
	batchRequest  = tikvpb.BatchCommandsRequest_Request
	batchResponse = tikvpb.BatchCommandsResponse_Response
)

// exchange sends messages of requests on one stream, each request with an id of its own, and collects all answers.
func exchange(ctx context.Context, at place, messages ...[]*batchRequest) (map[uint64]*batchResponse, error) {
	stream, err := at.client.BatchCommands(ctx)
	if err != nil {
		return nil, err
	}
	// Ids need not begin at 1, nor follow each other.
	next, missing := uint64(1000), 0
	for _, requests := range messages {
		message := &tikvpb.BatchCommandsRequest{Requests: requests}
		for range requests {
			message.RequestIds = append(message.RequestIds, next)
			next += 3
		}
		missing += len(requests)
		if err := stream.Send(message); err != nil {
			return nil, err
		}
	}
	answers := map[uint64]*batchResponse{}
	for missing > 0 {
		message, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if len(message.GetResponses()) != len(message.GetRequestIds()) {
			return nil, fmt.Errorf("%d responses, %d ids", len(message.GetResponses()), len(message.GetRequestIds()))
		}
		for i, id := range message.GetRequestIds() {
			if answers[id] != nil || id < 1000 || id >= next || (id-1000)%3 != 0 {
				return nil, fmt.Errorf("unexpected id %d", id)
			}
			answers[id] = message.GetResponses()[i]
			missing--
		}
	}
	return answers, stream.CloseSend()
}

func get(at place, key []byte) *batchRequest {
	request := &kvrpcpb.RawGetRequest{Context: at.context(), Key: key}
	return &batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_RawGet{RawGet: request}}
}

func put(at place, key, value []byte) *batchRequest {
	request := &kvrpcpb.RawPutRequest{Context: at.context(), Key: key, Value: value}
	return &batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_RawPut{RawPut: request}}
}

func empty(id uint64) *batchRequest {
	request := &tikvpb.BatchCommandsEmptyRequest{TestId: id}
	return &batchRequest{Cmd: &tikvpb.BatchCommandsRequest_Request_Empty{Empty: request}}
}

func batchCommands(s *suite) {
	s.raw("BatchCommands answers several commands of one message", func(ctx context.Context, at place) error {
		scan := &kvrpcpb.RawScanRequest{Context: at.context(), StartKey: rawKey(""), EndKey: rawKey("~"), Limit: 9}
		answers, err := exchange(ctx, at, []*batchRequest{
			get(at, rawKey("a")), get(at, rawKey("no")), put(at, rawKey("n"), []byte("x")), empty(7),
			{Cmd: &tikvpb.BatchCommandsRequest_Request_RawScan{RawScan: scan}},
		})
		if err != nil {
			return err
		}
		if string(answers[1000].GetRawGet().GetValue()) != "value a" || !answers[1003].GetRawGet().GetNotFound() {
			return fmt.Errorf("gets: %v %v", answers[1000], answers[1003])
		}
		if answers[1006].GetRawPut() == nil || answers[1009].GetEmpty().GetTestId() != 7 || len(answers[1012].GetRawScan().GetKvs()) < 3 {
			return fmt.Errorf("others: %v %v %v", answers[1006], answers[1009], answers[1012])
		}
		return nil
	})
	s.raw("BatchCommands gives a region error to the one request that earned it", func(ctx context.Context, at place) error {
		wrong := get(at, rawKey("a"))
		wrong.GetRawGet().Context.RegionId = 999_999
		answers, err := exchange(ctx, at, []*batchRequest{get(at, rawKey("a")), wrong, get(at, rawKey("b"))})
		if err != nil {
			return err
		}
		if answers[1003].GetRawGet().GetRegionError().GetRegionNotFound().GetRegionId() != 999_999 {
			return fmt.Errorf("got %v", answers[1003])
		}
		if answers[1000].GetRawGet().GetRegionError() != nil || string(answers[1006].GetRawGet().GetValue()) != "value b" {
			return fmt.Errorf("neighbours: %v %v", answers[1000], answers[1006])
		}
		return nil
	})
	s.raw("BatchCommands answers a request without a command", func(ctx context.Context, at place) error {
		answers, err := exchange(ctx, at, []*batchRequest{{}, get(at, rawKey("a"))})
		if err == nil && (answers[1000] == nil || string(answers[1003].GetRawGet().GetValue()) != "value a") {
			err = fmt.Errorf("got %v", answers)
		}
		return err
	})
	s.raw("BatchCommands takes 50 messages of 100 requests", func(ctx context.Context, at place) error {
		messages := [][]*batchRequest{}
		for i := range 50 {
			requests := []*batchRequest{}
			for j := range 50 {
				key := rawKey(fmt.Sprintf("many/%d/%d", i, j))
				requests = append(requests, put(at, key, key), get(at, rawKey("c")))
			}
			messages = append(messages, requests)
		}
		answers, err := exchange(ctx, at, messages...)
		if err != nil {
			return err
		}
		for id, answer := range answers {
			if (id-1000)/3%2 == 0 && (answer.GetRawPut() == nil || answer.GetRawPut().GetRegionError() != nil) ||
				(id-1000)/3%2 == 1 && string(answer.GetRawGet().GetValue()) != "value c" {
				return fmt.Errorf("request %d: %v", id, answer)
			}
		}
		return nil
	})
	s.raw("a write that BatchCommands answered is read by a unary call", func(ctx context.Context, at place) error {
		for i := range 20 {
			value := fmt.Appendf(nil, "%d", i)
			if _, err := exchange(ctx, at, []*batchRequest{put(at, rawKey("a"), value)}); err != nil {
				return err
			}
			answer, err := at.client.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: at.context(), Key: rawKey("a")})
			if err != nil || string(answer.GetValue()) != string(value) {
				return fmt.Errorf("round %d: %v %v", i, answer, err)
			}
		}
		return nil
	})
	s.raw("ids and requests that differ in number end the stream", func(ctx context.Context, at place) error {
		stream, err := at.client.BatchCommands(ctx)
		if err != nil {
			return err
		}
		message := &tikvpb.BatchCommandsRequest{Requests: []*batchRequest{empty(1), empty(2)}, RequestIds: []uint64{1}}
		if err := stream.Send(message); err != nil {
			return err
		}
		if answer, err := stream.Recv(); err == nil {
			return fmt.Errorf("answered %v", answer)
		}
		_, err = exchange(ctx, at, []*batchRequest{empty(3)})
		return err
	})
}
