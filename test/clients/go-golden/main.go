// Command go-golden writes golden-bytes.json: messages of TiKV's protocol as TiKV's own Go code encodes them, with
// their contents, for proto/test/golden.test.ts. Every field of every message is set, each to a value of its own;
// of a oneof each member gets a message. Run in this folder: go run . ../golden-bytes.json
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/keyspacepb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/meta_storagepb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/raft_cmdpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

const depthMax = 3

type golden struct {
	Name   string         `json:"name"`
	Type   string         `json:"type"`
	Fields map[string]any `json:"fields"`
	Hex    string         `json:"hex"`
}

var counter int

// Values differ from field to field, so that swapped field numbers show.
func next() int {
	counter++
	return counter
}

var messageType = reflect.TypeOf((*proto.Message)(nil)).Elem()

func fill(value reflect.Value, depth int) {
	kind := value.Type()
	for i := 0; i < kind.NumField(); i++ {
		field := kind.Field(i)
		if strings.HasPrefix(field.Name, "XXX_") || field.Tag.Get("protobuf") == "" {
			continue
		}
		fillField(value.Field(i), depth)
	}
}

func fillField(field reflect.Value, depth int) {
	switch field.Kind() {
	case reflect.Uint64:
		field.SetUint(uint64(1<<53 - 1 - next()))
	case reflect.Int64:
		field.SetInt(int64(-next()))
	case reflect.Uint32:
		field.SetUint(uint64(math.MaxUint32 - next()))
	case reflect.Int32:
		// Also enums, where 1 is known everywhere.
		field.SetInt(1)
	case reflect.Bool:
		field.SetBool(true)
	case reflect.Float64:
		field.SetFloat(float64(next()) + 0.5)
	case reflect.String:
		field.SetString("text-" + strconv.Itoa(next()) + "-é")
	case reflect.Slice:
		fillSlice(field, depth)
	case reflect.Ptr:
		if depth > 0 && field.Type().Implements(messageType) {
			field.Set(reflect.New(field.Type().Elem()))
			fill(field.Elem(), depth-1)
		}
	case reflect.Map:
		fillMap(field, depth)
	}
}

func fillSlice(field reflect.Value, depth int) {
	if field.Type().Elem().Kind() == reflect.Uint8 {
		field.SetBytes([]byte{0, 0xff, byte(next()), byte(counter >> 8)})
		return
	}
	if field.Type().Elem().Kind() == reflect.Ptr && depth == 0 {
		return
	}
	for i := 0; i < 2; i++ {
		element := reflect.New(field.Type().Elem()).Elem()
		fillField(element, depth)
		field.Set(reflect.Append(field, element))
	}
}

// One entry: the order of several is random.
func fillMap(field reflect.Value, depth int) {
	if field.Type().Elem().Kind() == reflect.Ptr && depth == 0 {
		return
	}
	key, element := reflect.New(field.Type().Key()).Elem(), reflect.New(field.Type().Elem()).Elem()
	fillField(key, depth)
	fillField(element, depth)
	field.Set(reflect.MakeMap(field.Type()))
	field.SetMapIndex(key, element)
}

var namePattern = regexp.MustCompile(`name=([^,]+)`)
var underscore = regexp.MustCompile(`_([a-z])`)

func nameOf(tag string) string {
	name := namePattern.FindStringSubmatch(tag)[1]
	return underscore.ReplaceAllStringFunc(name, func(part string) string { return strings.ToUpper(part[1:]) })
}

func contents(value reflect.Value) map[string]any {
	result := map[string]any{}
	kind := value.Type()
	for i := 0; i < kind.NumField(); i++ {
		field, tag := value.Field(i), kind.Field(i).Tag
		if tag.Get("protobuf_oneof") != "" && !field.IsNil() {
			wrapper := field.Elem().Elem()
			result[nameOf(wrapper.Type().Field(0).Tag.Get("protobuf"))] = plain(wrapper.Field(0))
		}
		if tag.Get("protobuf") != "" && !field.IsZero() {
			result[nameOf(tag.Get("protobuf"))] = plain(field)
		}
	}
	return result
}

// Integers of 64 bits as decimal text, bytes as hexadecimal text: the reader knows the types.
func plain(field reflect.Value) any {
	switch field.Kind() {
	case reflect.Uint64:
		return strconv.FormatUint(field.Uint(), 10)
	case reflect.Int64:
		return strconv.FormatInt(field.Int(), 10)
	case reflect.Uint32:
		return field.Uint()
	case reflect.Int32:
		return field.Int()
	case reflect.Bool:
		return field.Bool()
	case reflect.Float64:
		return field.Float()
	case reflect.String:
		return field.String()
	case reflect.Ptr:
		return contents(field.Elem())
	case reflect.Struct:
		return contents(field)
	case reflect.Map:
		result := map[string]any{}
		for _, key := range field.MapKeys() {
			result[fmt.Sprint(key.Interface())] = plain(field.MapIndex(key))
		}
		return result
	case reflect.Slice:
		if field.Type().Elem().Kind() == reflect.Uint8 {
			return hex.EncodeToString(field.Bytes())
		}
		list := []any{}
		for i := 0; i < field.Len(); i++ {
			list = append(list, plain(field.Index(i)))
		}
		return list
	}
	panic("no plain form of " + field.Kind().String())
}

// The full name in the protocol: nested types are joined by an underscore in Go.
func messageName(message proto.Message) string {
	name := strings.SplitN(reflect.TypeOf(message).Elem().String(), ".", 2)
	return name[0] + "." + strings.ReplaceAll(name[1], "_", ".")
}

func add(list []golden, name string, message proto.Message) []golden {
	bytes, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	fields := contents(reflect.ValueOf(message).Elem())
	return append(list, golden{name, messageName(message), fields, hex.EncodeToString(bytes)})
}

func addFilled(list []golden, message proto.Message) []golden {
	fill(reflect.ValueOf(message).Elem(), depthMax)
	list = add(list, messageName(message)+" with every field", message)
	type oneof interface{ XXX_OneofWrappers() []interface{} }
	if choices, ok := message.(oneof); ok {
		for _, choice := range choices.XXX_OneofWrappers() {
			list = addMember(list, message, choice)
		}
	}
	return list
}

func addMember(list []golden, message proto.Message, choice any) []golden {
	wrapper := reflect.New(reflect.TypeOf(choice).Elem())
	fillField(wrapper.Elem().Field(0), 1)
	copied := reflect.New(reflect.TypeOf(message).Elem())
	for i := 0; i < copied.Elem().NumField(); i++ {
		target := copied.Elem().Field(i)
		if copied.Elem().Type().Field(i).Tag.Get("protobuf_oneof") != "" && wrapper.Type().AssignableTo(target.Type()) {
			target.Set(wrapper)
		}
	}
	name := nameOf(wrapper.Elem().Type().Field(0).Tag.Get("protobuf"))
	chosen := copied.Interface().(proto.Message)
	return add(list, messageName(chosen)+" with "+name, chosen)
}

func filled() []proto.Message {
	return []proto.Message{
		&metapb.Region{}, &metapb.Store{}, &metapb.Buckets{}, &kvrpcpb.Context{}, &errorpb.Error{},
		&kvrpcpb.RawGetRequest{}, &kvrpcpb.RawGetResponse{}, &kvrpcpb.RawPutRequest{}, &kvrpcpb.RawPutResponse{},
		&kvrpcpb.RawBatchGetRequest{}, &kvrpcpb.RawBatchGetResponse{}, &kvrpcpb.RawBatchPutRequest{},
		&kvrpcpb.RawDeleteRequest{}, &kvrpcpb.RawDeleteRangeRequest{}, &kvrpcpb.RawScanRequest{},
		&kvrpcpb.RawScanResponse{}, &kvrpcpb.RawBatchScanRequest{}, &kvrpcpb.RawCASRequest{},
		&kvrpcpb.RawCASResponse{}, &kvrpcpb.RawGetKeyTTLResponse{}, &kvrpcpb.RawChecksumResponse{},
		&kvrpcpb.PrewriteRequest{}, &kvrpcpb.PrewriteResponse{}, &kvrpcpb.CommitRequest{}, &kvrpcpb.KeyError{},
		&kvrpcpb.CheckTxnStatusResponse{}, &kvrpcpb.SplitRegionRequest{}, &kvrpcpb.SplitRegionResponse{},
		&tikvpb.BatchCommandsRequest_Request{}, &tikvpb.BatchCommandsResponse_Response{},
		&tikvpb.BatchCommandsRequest{}, &tikvpb.BatchCommandsResponse{}, &tikvpb.BatchRaftMessage{},
		&raft_serverpb.RaftMessage{}, &raft_serverpb.RaftSnapshotData{}, &raft_serverpb.RegionLocalState{},
		&raft_serverpb.StoreIdent{}, &raft_cmdpb.RaftCmdRequest{}, &raft_cmdpb.RaftCmdResponse{},
		&eraftpb.Message{}, &eraftpb.ConfChangeV2{}, &eraftpb.HardState{}, &pdpb.RegionHeartbeatRequest{},
		&pdpb.RegionHeartbeatResponse{}, &pdpb.StoreHeartbeatRequest{}, &pdpb.StoreHeartbeatResponse{},
		&pdpb.GetMembersResponse{}, &pdpb.TsoRequest{}, &pdpb.TsoResponse{}, &pdpb.GetRegionResponse{},
		&pdpb.QueryRegionRequest{}, &pdpb.QueryRegionResponse{}, &pdpb.ScanRegionsResponse{},
		&pdpb.BatchScanRegionsRequest{}, &pdpb.AskBatchSplitResponse{}, &pdpb.ReportBatchSplitRequest{},
		&pdpb.GetClusterInfoResponse{}, &pdpb.BootstrapRequest{},
		&keyspacepb.KeyspaceMeta{}, &meta_storagepb.GetResponse{},
	}
}

// The largest integers, where clients send them.
func extremes() []proto.Message {
	return []proto.Message{
		&pdpb.RequestHeader{ClusterId: math.MaxUint64, SenderId: 1 << 63},
		&pdpb.UpdateServiceGCSafePointRequest{ServiceId: []byte("gc_worker"), TTL: math.MaxInt64, SafePoint: 1 << 60},
		&kvrpcpb.PrewriteRequest{StartVersion: math.MaxUint64, TxnSize: math.MaxUint64, LockTtl: 1},
		&kvrpcpb.GetRequest{Version: math.MaxUint64, Key: []byte{}},
		&metapb.Peer{Id: 1<<53 - 1, StoreId: 127},
		&metapb.Store{LastHeartbeat: 1790000000123456789, StartTimestamp: 1790000000},
		&eraftpb.Message{Priority: math.MinInt64 + 1<<63 - 1<<53 + 1},
		&metapb.Region{},
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . FILE")
		os.Exit(2)
	}
	list := []golden{}
	for _, message := range filled() {
		list = addFilled(list, message)
	}
	for i, message := range extremes() {
		list = add(list, fmt.Sprintf("%s at its limits (%d)", messageName(message), i), message)
	}
	lines := []string{}
	for _, each := range list {
		line, err := json.Marshal(each)
		if err != nil {
			panic(err)
		}
		lines = append(lines, string(line))
	}
	if err := os.WriteFile(os.Args[1], []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644); err != nil {
		panic(err)
	}
	fmt.Println(len(list), "messages")
}
