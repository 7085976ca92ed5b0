package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"raftwerk.dev/clients/checks"
)

type regionInfo struct {
	ID       uint64 `json:"id"`
	StartKey string `json:"start_key"`
	EndKey   string `json:"end_key"`
	Leader   struct {
		StoreID uint64 `json:"store_id"`
	} `json:"leader"`
	Peers []struct {
		ID      uint64 `json:"id"`
		StoreID uint64 `json:"store_id"`
	} `json:"peers"`
	Pending []any `json:"pending_peers"`
}

func (s *suite) regions() ([]regionInfo, error) {
	response, err := http.Get("http://" + s.pd + "/pd/api/v1/regions")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Regions []regionInfo `json:"regions"`
	}
	return answer.Regions, json.NewDecoder(response.Body).Decode(&answer)
}

// regionOf finds the region that holds the key.
func (s *suite) regionOf(key []byte) (regionInfo, error) {
	all, err := s.regions()
	if err != nil {
		return regionInfo{}, err
	}
	text := strings.ToUpper(hex.EncodeToString(s.border(key)))
	for _, region := range all {
		if region.StartKey <= text && (region.EndKey == "" || text < region.EndKey) {
			return region, nil
		}
	}
	return regionInfo{}, fmt.Errorf("PD knows no region for %q", key)
}

func (s *suite) operator(body map[string]any) error {
	bytesOf, err := json.Marshal(body)
	if err != nil {
		return err
	}
	response, err := http.Post("http://"+s.pd+"/pd/api/v1/operators", "application/json", bytes.NewReader(bytesOf))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("operator %v: %s %s", body["name"], response.Status, text)
	}
	return nil
}

func (s *suite) splitAt(keys ...[]byte) error {
	for _, key := range keys {
		region, err := s.regionOf(key)
		if err != nil {
			return err
		}
		wanted := strings.ToUpper(hex.EncodeToString(s.border(key)))
		if region.StartKey == wanted {
			continue
		}
		body := map[string]any{
			"name": "split-region", "region_id": region.ID, "policy": "usekey", "keys": []string{wanted},
		}
		if err := s.operator(body); err != nil {
			return err
		}
		err = checks.Eventually("the split", func() (bool, error) {
			now, err := s.regionOf(key)
			return now.StartKey == wanted, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writing runs while regions change; it must see no error.
func (s *suite) writing(change func() error) error {
	var stop atomic.Bool
	var writes atomic.Int64
	const workers = 8
	errs := make(chan error, workers)
	for worker := range workers {
		go func() {
			for i := 0; !stop.Load(); i++ {
				key := s.key(fmt.Sprintf("%d/%d", worker, i%50))
				if err := s.putAndExpect(key, fmt.Appendf(nil, "%d", i)); err != nil {
					errs <- err
					return
				}
				writes.Add(1)
			}
			errs <- nil
		}()
	}
	time.Sleep(100 * time.Millisecond)
	err := change()
	time.Sleep(100 * time.Millisecond)
	stop.Store(true)
	for range workers {
		if failed := <-errs; failed != nil && err == nil {
			err = failed
		}
	}
	if err == nil && writes.Load() == 0 {
		err = fmt.Errorf("no write was made")
	}
	return err
}

func regions(s *suite) {
	s.check("write while a region splits", func() error {
		return s.writing(func() error { return s.splitAt(s.key("3"), s.key("5"), s.key("7/2")) })
	})
	s.check("write while leaders move", func() error {
		return s.writing(func() error { return s.moveLeader(s.key("0"), 4) })
	})
	s.check("write while a replica is removed and made again", func() error {
		return s.writing(func() error { return s.replaceReplica(s.key("0")) })
	})
	s.check("scans while a region splits see every key once", func() error {
		keys, values := s.numbered(300)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		done := make(chan error, 1)
		go func() { done <- s.splitAt(keys[50], keys[150], keys[250]) }()
		for {
			k, v, err := s.client.Scan(s.ctx, keys[0], s.key("9"), 300)
			if err == nil {
				err = same(k, v, keys, values)
			}
			if err != nil {
				return err
			}
			select {
			case err := <-done:
				return err
			default:
			}
		}
	})
	s.check("batches and scans over several regions", func() error {
		keys, values := s.numbered(400)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.splitAt(keys[100], keys[200], keys[300]); err != nil {
			return err
		}
		if err := s.expectAll(keys, values); err != nil {
			return err
		}
		k, v, err := s.client.Scan(s.ctx, keys[0], s.key("9"), 400)
		if err != nil {
			return err
		}
		if err := same(k, v, keys, values); err != nil {
			return err
		}
		return s.client.BatchPut(s.ctx, keys, values)
	})
	s.check("reverse scan over several regions", func() error {
		keys, values := s.numbered(100)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.splitAt(keys[50]); err != nil {
			return err
		}
		k, _, err := s.client.ReverseScan(s.ctx, s.key("9"), s.key(""), 100)
		if err == nil && (len(k) != 100 || !bytes.Equal(k[0], keys[99]) || !bytes.Equal(k[99], keys[0])) {
			err = fmt.Errorf("%d keys", len(k))
		}
		return err
	})
	s.check("delete range over several regions", func() error {
		keys, values := s.numbered(100)
		if err := s.client.BatchPut(s.ctx, keys, values); err != nil {
			return err
		}
		if err := s.splitAt(keys[30], keys[60]); err != nil {
			return err
		}
		if err := s.client.DeleteRange(s.ctx, keys[10], keys[90]); err != nil {
			return err
		}
		for i := 10; i < 90; i++ {
			values[i] = nil
		}
		return s.expectAll(keys, values)
	})
}

// moveLeader gives the region's leader to another of its stores, several times.
func (s *suite) moveLeader(key []byte, times int) error {
	for range times {
		region, err := s.regionOf(key)
		if err != nil {
			return err
		}
		target := uint64(0)
		for _, peer := range region.Peers {
			if peer.StoreID != region.Leader.StoreID {
				target = peer.StoreID
			}
		}
		if target == 0 {
			return fmt.Errorf("region %d has one peer alone", region.ID)
		}
		// Refused as long as PD has not heard that the peer has caught up with its new leader.
		body := map[string]any{"name": "transfer-leader", "region_id": region.ID, "to_store_id": target}
		err = checks.Eventually("the operator", func() (bool, error) {
			err := s.operator(body)
			return err == nil, err
		})
		if err != nil {
			return err
		}
		err = checks.Eventually("the transfer", func() (bool, error) {
			now, err := s.regionOf(key)
			return now.Leader.StoreID == target, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceReplica removes a follower of the region; PD must give the region a third replica again.
func (s *suite) replaceReplica(key []byte) error {
	region, err := s.regionOf(key)
	if err != nil {
		return err
	}
	victim := region.Peers[0]
	if victim.StoreID == region.Leader.StoreID {
		victim = region.Peers[1]
	}
	body := map[string]any{"name": "remove-peer", "region_id": region.ID, "store_id": victim.StoreID}
	if err := s.operator(body); err != nil {
		return err
	}
	return checks.Eventually("the new replica", func() (bool, error) {
		now, err := s.regionOf(key)
		if err != nil {
			return false, err
		}
		for _, peer := range now.Peers {
			if peer.ID == victim.ID {
				return false, fmt.Errorf("peer %d is still there", victim.ID)
			}
		}
		return len(now.Peers) == len(region.Peers) && len(now.Pending) == 0, fmt.Errorf("%d peers", len(now.Peers))
	})
}
