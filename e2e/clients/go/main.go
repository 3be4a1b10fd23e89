// The franz-go client behind the commands of ../README.md: one JSON object a line in, one out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	patience = 30 * time.Second
	large    = 16 << 20
)

type command struct {
	Do          string             `json:"do"`
	Topic       string             `json:"topic"`
	Group       string             `json:"group"`
	Instance    string             `json:"instance"`
	Assignor    string             `json:"assignor"`
	Protocol    string             `json:"protocol"`
	Broker      *string            `json:"broker"`
	Compression string             `json:"compression"`
	Acks        string             `json:"acks"`
	Idempotent  *bool              `json:"idempotent"`
	Records     []record           `json:"records"`
	Partitions  json.RawMessage    `json:"partitions"`
	Partition   int32              `json:"partition"`
	At          any                `json:"at"`
	Configs     map[string]*string `json:"configs"`
	Count       int                `json:"count"`
	Before      int64              `json:"before"`
	Offset      int64              `json:"offset"`
	Metadata    string             `json:"metadata"`
	SessionMs   int                `json:"session_ms"`
}

// A record of the exchange format. encoding/json writes []byte as base64 and nil as null.
type record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

type header struct {
	name  string
	value []byte
}

func (h header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.name, h.value}) }

func (h *header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.name, &h.value})
}

type answer map[string]any

type client struct {
	address string
	member  *member
}

var out sync.Mutex

// say writes one line, whole, whichever goroutine says it.
func say(line answer) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func main() {
	c := &client{address: os.Args[1]}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var asked command
		if err := json.Unmarshal(line, &asked); err != nil {
			say(answer{"error": err.Error()})
			continue
		}
		got, err := c.answer(asked)
		if err != nil {
			got = answer{"error": err.Error()}
			var known *kerr.Error
			if errors.As(err, &known) {
				got["code"] = known.Message
			}
		}
		say(got)
	}
	c.leave()
}

func (c *client) answer(asked command) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch asked.Do {
	case "produce":
		return c.produce(ctx, asked)
	case "consume":
		return c.consume(ctx, asked)
	case "join":
		joined, err := join(c.address, asked)
		c.member = joined
		return answer{}, err
	case "leave":
		c.leave()
		return answer{}, nil
	default:
		return c.admin(ctx, asked)
	}
}

func (c *client) leave() {
	if c.member != nil {
		c.member.leave()
		c.member = nil
	}
}

func (c *client) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(c.address), kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)),
		// How long it waits before it asks a restarted broker again; 5 s by default.
		kgo.MetadataMinAge(250 * time.Millisecond),
	}, more...)
}

func (c *client) produce(ctx context.Context, asked command) (answer, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := c.options(
		kgo.ProducerBatchCompression(codecs[asked.Compression]), kgo.ProducerBatchMaxBytes(large), kgo.ProducerLinger(20*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation(),
	)
	acks := map[string]kgo.Acks{"": kgo.AllISRAcks(), "all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[asked.Acks]
	options = append(options, kgo.RequiredAcks(acks))
	if asked.Idempotent != nil && !*asked.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	batch := make([]*kgo.Record, len(asked.Records))
	for i, r := range asked.Records {
		batch[i] = &kgo.Record{Topic: asked.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
		if r.Timestamp != nil {
			batch[i].Timestamp = time.UnixMilli(*r.Timestamp)
		}
		for _, h := range r.Headers {
			batch[i].Headers = append(batch[i].Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
		}
	}
	offsets := make([]int64, 0, len(batch))
	if err := producer.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		return nil, err
	}
	for _, sent := range batch {
		offsets = append(offsets, sent.Offset)
	}
	return answer{"offsets": offsets}, nil
}

func (c *client) consume(ctx context.Context, asked command) (answer, error) {
	var ranges [][3]int64
	if err := json.Unmarshal(asked.Partitions, &ranges); err != nil {
		return nil, err
	}
	starts, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, r := range ranges {
		if r[1] < r[2] {
			starts[int32(r[0])], ends[int32(r[0])] = kgo.NewOffset().At(r[1]), r[2]
		}
	}
	consumer, err := kgo.NewClient(c.options(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{asked.Topic: starts}))...)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	records := []record{}
	for len(ends) > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d records: %w", len(records), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, open := ends[r.Partition]
			if !open {
				return
			}
			if r.Offset < end {
				records = append(records, described(r))
			}
			if r.Offset+1 >= end {
				delete(ends, r.Partition)
			}
		})
	}
	return answer{"records": records}, nil
}

func described(r *kgo.Record) record {
	timestamp := r.Timestamp.UnixMilli()
	headers := []header{}
	for _, h := range r.Headers {
		headers = append(headers, header{h.Key, h.Value})
	}
	return record{r.Partition, r.Offset, &timestamp, r.Key, r.Value, headers}
}
