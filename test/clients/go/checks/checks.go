// Package checks is what the programs of this folder share: named checks, one line each, and the counts at the end.
package checks

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pingcap/log"
	"go.uber.org/zap"
)

// Limit is how long one check may take.
const Limit = 60 * time.Second

// Counter counts what passed and what failed.
type Counter struct {
	passed int
	failed int
}

// Check runs one check, with a context of its own, and prints its line.
func (c *Counter) Check(name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	if err := run(ctx); err != nil {
		c.failed++
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	c.passed++
	fmt.Printf("ok   %s\n", name)
}

// Finish prints the counts and ends the program; a failed check makes its exit code 1.
func (c *Counter) Finish() {
	fmt.Printf("%d passed, %d failed\n", c.passed, c.failed)
	if c.failed > 0 || c.passed == 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

// Quiet keeps the clients' own log off the output.
func Quiet() {
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{Level: zap.NewAtomicLevelAt(zap.FatalLevel)})
}

// Eventually tries until the condition holds, at most 20 seconds.
func Eventually(what string, condition func() (bool, error)) error {
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ok, err := condition()
		if ok {
			return nil
		}
		last = err
	}
	return fmt.Errorf("%s did not happen (%v)", what, last)
}
