// Command go-porcupine judges histories of a register by porcupine, an independent checker of linearizability, and
// compares each verdict with the one that came along. One history a line of JSON on standard input; the last line of the
// output is "N passed, M failed".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type call struct {
	Kind     string  `json:"kind"`
	Value    string  `json:"value"`
	Expected *string `json:"expected"`
	Swapped  *bool   `json:"swapped"`
	Previous *string `json:"previous"`
	Result   *string `json:"result"`
}

type operation struct {
	Client  int    `json:"client"`
	Call    call   `json:"call"`
	BeganAt int64  `json:"beganAt"`
	EndedAt *int64 `json:"endedAt"`
}

type history struct {
	Name       string      `json:"name"`
	Verdict    string      `json:"verdict"`
	Operations []operation `json:"operations"`
}

// What a register holds: absent, or a value.
type state struct {
	present bool
	value   string
}

func of(text *string) state {
	if text == nil {
		return state{}
	}
	return state{true, *text}
}

// An operation of unknown outcome returns at the end of time, where it harms nothing, so that it may as well never have
// happened; whatever it would have answered is right.
func step(before interface{}, input interface{}, _ interface{}) (bool, interface{}) {
	held := before.(state)
	op := input.(operation)
	known := op.EndedAt != nil
	switch op.Call.Kind {
	case "put":
		return true, state{true, op.Call.Value}
	case "delete":
		return true, state{}
	case "get":
		return !known || of(op.Call.Result) == held, held
	case "cas":
		matches := of(op.Call.Expected) == held
		after := held
		if matches {
			after = state{true, op.Call.Value}
		}
		if !known {
			return true, after
		}
		if *op.Call.Swapped != matches {
			return false, held
		}
		return matches || of(op.Call.Previous) == held, after
	}
	return false, held
}

var model = porcupine.Model{
	Init:  func() interface{} { return state{} },
	Step:  step,
	Equal: func(left, right interface{}) bool { return left.(state) == right.(state) },
}

func judge(operations []operation) porcupine.CheckResult {
	all := make([]porcupine.Operation, 0, len(operations))
	for i, op := range operations {
		end := int64(math.MaxInt64)
		if op.EndedAt != nil {
			end = *op.EndedAt
		}
		// Loops of one client overlap, which porcupine only minds in its pictures.
		all = append(all, porcupine.Operation{ClientId: i, Input: op, Call: op.BeganAt, Return: end})
	}
	return porcupine.CheckOperationsTimeout(model, all, 20*time.Second)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 0, 1<<20), 1<<26)
	passed, failed, undecided := 0, 0, 0
	for lines.Scan() {
		var given history
		if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
			fmt.Println("FAIL not a history:", err)
			failed++
			continue
		}
		verdict := map[porcupine.CheckResult]string{
			porcupine.Ok: "linearizable", porcupine.Illegal: "violation", porcupine.Unknown: "inconclusive",
		}[judge(given.Operations)]
		switch {
		case verdict == given.Verdict:
			passed++
		case verdict == "inconclusive" || given.Verdict == "inconclusive":
			undecided++
		default:
			fmt.Printf("FAIL %s: porcupine says %s, our checker %s\n", given.Name, verdict, given.Verdict)
			failed++
		}
	}
	if undecided > 0 {
		fmt.Println(undecided, "histories were too wide for one of the two")
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
