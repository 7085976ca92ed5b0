// history writes to a cluster and keeps a record of every write that was acknowledged, then looks whether all are
// there. Tests that kill processes run it before and after:
//
//	history write -pd 127.0.0.1:2379 -out FILE -seconds 10 -workers 16
//	history verify -pd 127.0.0.1:2379 -in FILE
//
// Each key has one writer, whose values only grow. So at any time a read must give at least what was acknowledged
// before it began, at least what an earlier read gave, and nothing that was never sent. Readers check that while the
// writers run; verify checks the first of the three once more, for every key. An error of a write is no violation:
// whether it was applied is then unknown. Both modes end with one line of JSON; exit code 1 means a violation.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"

	"raftwerk.dev/clients/checks"
)

// record is one line of the file.
type record struct {
	Key    string `json:"key"`
	Value  int64  `json:"value"`
	UnixMs int64  `json:"unixMs"`
}

func connect(addresses string) (*rawkv.Client, error) {
	checks.Quiet()
	ctx, cancel := context.WithTimeout(context.Background(), checks.Limit)
	defer cancel()
	return rawkv.NewClient(ctx, strings.Split(addresses, ","), config.Security{})
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	mode := os.Args[1]
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	pd := flags.String("pd", "127.0.0.1:2379", "addresses of PD, separated by commas")
	var run func(*rawkv.Client) (any, bool, error)
	switch mode {
	case "write":
		w := &writer{}
		flags.StringVar(&w.out, "out", "", "file for the acknowledged writes, appended to")
		flags.IntVar(&w.workers, "workers", 16, "writers, each with keys of its own")
		flags.IntVar(&w.readers, "readers", 4, "readers of random keys")
		flags.IntVar(&w.keys, "keys", 20, "keys of each writer")
		flags.IntVar(&w.size, "size", 64, "bytes of a value")
		flags.StringVar(&w.prefix, "prefix", "", "first part of the keys; chosen at random when empty")
		flags.DurationVar(&w.timeout, "timeout", 30*time.Second, "limit of one operation")
		flags.Func("seconds", "how long to write (default 10)", w.setSeconds)
		w.duration = 10 * time.Second
		run = w.run
	case "verify":
		v := &verifier{}
		flags.StringVar(&v.in, "in", "", "file that `history write` made")
		flags.DurationVar(&v.wait, "wait", 60*time.Second, "how long the cluster may take to answer")
		run = v.run
	default:
		usage()
	}
	_ = flags.Parse(os.Args[2:])
	client, err := connect(*pd)
	if err != nil {
		fail(err)
	}
	summary, violated, err := run(client)
	if err != nil {
		fail(err)
	}
	text, err := json.Marshal(summary)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(text))
	if violated {
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: history write -out FILE | history verify -in FILE   (-h after the mode lists its flags)")
	os.Exit(2)
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "history: %v\n", err)
	os.Exit(2)
}
