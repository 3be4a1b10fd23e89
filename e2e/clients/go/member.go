package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group: says what it is given and what it reads, and commits only what it has said.
type member struct {
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}
}

func join(address string, asked command) (*member, error) {
	balancer := map[string]kgo.GroupBalancer{
		"": kgo.RoundRobinBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "range": kgo.RangeBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}[asked.Assignor]
	said := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			say(answer{"event": name, "partitions": append([]int32{}, partitions[asked.Topic]...)})
		}
	}
	session := 6 * time.Second
	if asked.SessionMs > 0 {
		session = time.Duration(asked.SessionMs) * time.Millisecond
	}
	options := (&client{address: address}).options(
		kgo.ConsumerGroup(asked.Group), kgo.ConsumeTopics(asked.Topic), kgo.Balancers(balancer), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(session), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(said("assigned")), kgo.OnPartitionsRevoked(said("revoked")), kgo.OnPartitionsLost(said("revoked")),
		kgo.BlockRebalanceOnPoll(),
	)
	if asked.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	if asked.Instance != "" {
		options = append(options, kgo.InstanceID(asked.Instance))
	}
	consumer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{consumer, cancel, make(chan struct{})}
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
		fetches := m.client.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if ctx.Err() == nil {
				say(answer{"event": "trouble", "why": err.Error()})
			}
		})
		m.read(fetches.Records())
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
	records, next := [][3]any{}, map[int32]int64{}
	for _, r := range batch {
		records = append(records, [3]any{r.Partition, r.Offset, string(r.Value)})
		next[r.Partition] = r.Offset + 1
	}
	say(answer{"event": "records", "records": records})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.client.CommitRecords(ctx, batch...); err != nil {
		say(answer{"event": "trouble", "why": err.Error()})
		return
	}
	offsets := [][2]int64{}
	for partition, offset := range next {
		offsets = append(offsets, [2]int64{int64(partition), offset})
	}
	say(answer{"event": "committed", "offsets": offsets})
}
