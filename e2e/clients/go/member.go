package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group: says what it is given and what it reads, and commits only what it has said.
type member struct {
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	// The last record that it has read of each partition and not committed yet: a group that is between two assignments
	// refuses commits for a moment.
	mutex       sync.Mutex
	uncommitted map[int32]*kgo.Record
}

func join(address string, asked command) (*member, error) {
	balancer := map[string]kgo.GroupBalancer{
		"": kgo.RoundRobinBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "range": kgo.RangeBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}[asked.Assignor]
	m := &member{done: make(chan struct{}), uncommitted: map[int32]*kgo.Record{}}
	assigned := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		say(answer{"event": "assigned", "partitions": append([]int32{}, partitions[asked.Topic]...)})
	}
	revoked := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		say(answer{"event": "revoked", "partitions": append([]int32{}, partitions[asked.Topic]...)})
		m.mutex.Lock()
		defer m.mutex.Unlock()
		for _, partition := range partitions[asked.Topic] {
			delete(m.uncommitted, partition)
		}
	}
	session := 6 * time.Second
	if asked.SessionMs > 0 {
		session = time.Duration(asked.SessionMs) * time.Millisecond
	}
	options := (&client{address: address}).options(
		kgo.ConsumerGroup(asked.Group), kgo.ConsumeTopics(asked.Topic), kgo.Balancers(balancer), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(session), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
		kgo.BlockRebalanceOnPoll(),
	)
	if asked.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	if asked.Instance != "" {
		options = append(options, kgo.InstanceID(asked.Instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.client, m.cancel = client, cancel
	go m.run(ctx)
	return m, nil
}

func (m *member) leave() {
	m.cancel()
	<-m.done
}

func (m *member) run(ctx context.Context) {
	defer close(m.done)
	defer m.close()
	for ctx.Err() == nil {
		poll, end := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := m.client.PollFetches(poll)
		end()
		fetches.EachError(func(_ string, _ int32, err error) {
			if ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
				say(answer{"event": "trouble", "why": err.Error()})
			}
		})
		m.read(fetches.Records())
		m.commit()
		m.client.AllowRebalance()
	}
}

// A static member of the classic protocol does not leave by it; one of the new protocol says that it will be back.
func (m *member) close() {
	m.client.AllowRebalance()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.client.LeaveGroupContext(ctx); err != nil {
		say(answer{"event": "trouble", "why": err.Error()})
	}
	m.client.CloseAllowingRebalance()
}

func (m *member) read(batch []*kgo.Record) {
	if len(batch) == 0 {
		return
	}
	records := [][3]any{}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, r := range batch {
		records = append(records, [3]any{r.Partition, r.Offset, string(r.Value)})
		m.uncommitted[r.Partition] = r
	}
	say(answer{"event": "records", "records": records})
}

func (m *member) commit() {
	m.mutex.Lock()
	last := []*kgo.Record{}
	for _, r := range m.uncommitted {
		last = append(last, r)
	}
	m.mutex.Unlock()
	if len(last) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.client.CommitRecords(ctx, last...); err != nil {
		say(answer{"event": "trouble", "why": err.Error()})
		return
	}
	offsets := [][2]int64{}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, r := range last {
		delete(m.uncommitted, r.Partition)
		offsets = append(offsets, [2]int64{int64(r.Partition), r.Offset + 1})
	}
	say(answer{"event": "committed", "offsets": offsets})
}
