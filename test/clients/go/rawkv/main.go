// rawkv checks a cluster through TiKV's official Go client: every operation of the raw API, over regions that split
// and move meanwhile. Prints one line per check and ends with "N passed, M failed".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"

	"raftwerk.dev/clients/checks"
)

// suite is what a check works with: the client, PD's address for operators, and a prefix of its own.
type suite struct {
	checks.Counter
	ctx    context.Context
	client *rawkv.Client
	pd     string
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

func main() {
	pd := flag.String("pd", "127.0.0.1:2379", "address of PD")
	flag.Parse()
	checks.Quiet()
	client, err := rawkv.NewClientWithOpts(context.Background(), []string{*pd}, rawkv.WithSecurity(config.Security{}))
	if err != nil {
		fmt.Printf("FAIL connect: %s\n0 passed, 1 failed\n", err)
		os.Exit(1)
	}
	// Compare-and-swap is only offered on a client that says so.
	client.SetAtomicForCAS(false)
	s := &suite{client: client, pd: *pd}
	singleKeys(s)
	batches(s)
	scans(s)
	ranges(s)
	swaps(s)
	regions(s)
	s.Check("the client closes", func(context.Context) error { return client.Close() })
	s.Finish()
}
