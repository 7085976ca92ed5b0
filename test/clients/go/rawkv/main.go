// rawkv checks a cluster through TiKV's official Go client: every operation of the raw API, over regions that split
// and move meanwhile. Prints one line per check and ends with "N passed, M failed".
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"github.com/tikv/client-go/v2/util/codec"

	"raftwerk.dev/clients/checks"
)

// suite is what a check works with: the client, PD's address for operators, and a prefix of its own.
type suite struct {
	checks.Counter
	ctx    context.Context
	client *rawkv.Client
	pd     string
	// isV2 says that keys live in keyspace DEFAULT, which the client adds and takes away.
	isV2   bool
	prefix string
}

func (s *suite) check(name string, run func() error) {
	s.prefix = fmt.Sprintf("check/%s/", name)
	s.Check(name, func(ctx context.Context) error {
		s.ctx = ctx
		// What an earlier run left would fail checks of absent keys.
		if err := s.client.DeleteRange(ctx, s.key(""), s.key("\xff")); err != nil {
			return err
		}
		return run()
	})
}

// key makes a key within the check's own prefix.
func (s *suite) key(name string) []byte { return []byte(s.prefix + name) }

// stored is the key as stores know it: with the mode and the keyspace before it under API V2.
func (s *suite) stored(key []byte) []byte {
	if !s.isV2 {
		return bytes.Clone(key)
	}
	return append([]byte{'r', 0, 0, 0}, key...)
}

// border is the key as region borders show it: in memcomparable form under API V2.
func (s *suite) border(key []byte) []byte {
	if !s.isV2 {
		return key
	}
	return codec.EncodeBytes(nil, s.stored(key))
}

func main() {
	pd := flag.String("pd", "127.0.0.1:2379", "address of PD")
	api := flag.Int("api", 1, "1, or 2 for keyspace DEFAULT of a cluster with storage.api-version = 2")
	flag.Parse()
	checks.Quiet()
	options := []rawkv.ClientOpt{rawkv.WithSecurity(config.Security{})}
	if *api == 2 {
		options = append(options, rawkv.WithAPIVersion(kvrpcpb.APIVersion_V2), rawkv.WithKeyspace("DEFAULT"))
	}
	client, err := rawkv.NewClientWithOpts(context.Background(), []string{*pd}, options...)
	if err != nil {
		fmt.Printf("FAIL connect: %s\n0 passed, 1 failed\n", err)
		os.Exit(1)
	}
	// Compare-and-swap is only offered on a client that says so.
	client.SetAtomicForCAS(false)
	s := &suite{client: client, pd: *pd, isV2: *api == 2}
	singleKeys(s)
	batches(s)
	scans(s)
	ranges(s)
	swaps(s)
	regions(s)
	s.Check("the client closes", func(context.Context) error { return client.Close() })
	s.Finish()
}
