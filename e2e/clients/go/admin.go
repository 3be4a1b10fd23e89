package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The admin commands of ../README.md, and `offsets`, which franz-go has no consumer call for.
func (c *client) admin(ctx context.Context, asked command) (answer, error) {
	plain, err := kgo.NewClient(c.options()...)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	admin := kadm.NewClient(plain)
	switch asked.Do {
	case "create_topic":
		var wanted struct{ Partitions int32 }
		if err := json.Unmarshal(asked.Partitions, &wanted.Partitions); err != nil {
			return nil, err
		}
		_, err := admin.CreateTopic(ctx, wanted.Partitions, 1, asked.Configs, asked.Topic)
		return answer{}, err
	case "delete_topic":
		_, err := admin.DeleteTopic(ctx, asked.Topic)
		return answer{}, err
	case "list_topics":
		topics, err := admin.ListTopics(ctx)
		return answer{"topics": topics.Names()}, err
	case "create_partitions":
		results, err := admin.UpdatePartitions(ctx, asked.Count, asked.Topic)
		if err == nil {
			err = results.Error()
		}
		return answer{}, err
	case "describe_configs":
		return describeConfigs(ctx, admin, asked)
	case "alter_configs":
		return answer{}, alterConfigs(ctx, admin, asked)
	case "delete_records":
		offsets := kadm.Offsets{}
		offsets.AddOffset(asked.Topic, asked.Partition, asked.Before, -1)
		results, err := admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = results.Error()
		}
		if err != nil {
			return nil, err
		}
		result, _ := results.Lookup(asked.Topic, asked.Partition)
		return answer{"low": result.LowWatermark}, nil
	case "offsets", "list_offsets":
		return listOffsets(ctx, admin, asked)
	case "list_groups":
		groups, err := admin.ListGroups(ctx)
		return answer{"groups": groups.Groups()}, err
	case "describe_group":
		return describeGroup(ctx, admin, asked)
	case "delete_group":
		_, err := admin.DeleteGroup(ctx, asked.Group)
		return answer{}, err
	case "group_offsets":
		found, err := admin.FetchOffsets(ctx, asked.Group)
		if err != nil {
			return nil, err
		}
		offsets := [][3]any{}
		for _, offset := range found.Sorted() {
			if offset.Err != nil {
				return nil, offset.Err
			}
			offsets = append(offsets, [3]any{offset.Partition, offset.At, offset.Metadata})
		}
		return answer{"offsets": offsets}, nil
	case "set_group_offset":
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: asked.Topic, Partition: asked.Partition, At: asked.Offset, LeaderEpoch: -1, Metadata: asked.Metadata})
		results, err := admin.CommitOffsets(ctx, asked.Group, offsets)
		if err == nil {
			err = results.Error()
		}
		return answer{}, err
	case "describe_cluster":
		cluster, err := admin.BrokerMetadata(ctx)
		if err != nil {
			return nil, err
		}
		brokers := [][3]any{}
		for _, broker := range cluster.Brokers {
			brokers = append(brokers, [3]any{broker.NodeID, broker.Host, broker.Port})
		}
		return answer{"cluster": cluster.Cluster, "controller": cluster.Controller, "brokers": brokers}, nil
	default:
		return nil, fmt.Errorf("unknown command %s", asked.Do)
	}
}

func describeConfigs(ctx context.Context, admin *kadm.Client, asked command) (answer, error) {
	var found kadm.ResourceConfigs
	var err error
	if asked.Broker != nil {
		found, err = admin.DescribeBrokerConfigs(ctx, 0)
	} else {
		found, err = admin.DescribeTopicConfigs(ctx, asked.Topic)
	}
	if err != nil {
		return nil, err
	}
	configs := map[string]*string{}
	for _, resource := range found {
		if resource.Err != nil {
			return nil, resource.Err
		}
		for _, config := range resource.Configs {
			configs[config.Key] = config.Value
		}
	}
	return answer{"configs": configs}, nil
}

func alterConfigs(ctx context.Context, admin *kadm.Client, asked command) error {
	changes := []kadm.AlterConfig{}
	for name, value := range asked.Configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	var results kadm.AlterConfigsResponses
	var err error
	if asked.Broker != nil {
		results, err = admin.AlterBrokerConfigs(ctx, changes, 0)
	} else {
		results, err = admin.AlterTopicConfigs(ctx, changes, asked.Topic)
	}
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Err != nil {
			return result.Err
		}
	}
	return nil
}

func listOffsets(ctx context.Context, admin *kadm.Client, asked command) (answer, error) {
	var partitions []int32
	if err := json.Unmarshal(asked.Partitions, &partitions); err != nil {
		return nil, err
	}
	var found kadm.ListedOffsets
	var err error
	switch at := asked.At.(type) {
	case float64:
		found, err = admin.ListOffsetsAfterMilli(ctx, int64(at), asked.Topic)
	default:
		switch at {
		case "earliest":
			found, err = admin.ListStartOffsets(ctx, asked.Topic)
		case "latest":
			found, err = admin.ListEndOffsets(ctx, asked.Topic)
		default:
			found, err = admin.ListMaxTimestampOffsets(ctx, asked.Topic)
		}
	}
	if err == nil {
		err = found.Error()
	}
	if err != nil {
		return nil, err
	}
	offsets := []int64{}
	for _, partition := range partitions {
		offset, _ := found.Lookup(asked.Topic, partition)
		offsets = append(offsets, offset.Offset)
	}
	return answer{"offsets": offsets}, nil
}

func describeGroup(ctx context.Context, admin *kadm.Client, asked command) (answer, error) {
	groups, err := admin.DescribeGroups(ctx, asked.Group)
	if err != nil {
		return nil, err
	}
	group := groups[asked.Group]
	if group.Err != nil {
		return nil, group.Err
	}
	members := []answer{}
	for _, m := range group.Members {
		partitions := []int32{}
		if assigned, known := m.Assigned.AsConsumer(); known {
			for _, topic := range assigned.Topics {
				partitions = append(partitions, topic.Partitions...)
			}
		}
		slices.Sort(partitions)
		members = append(members, answer{"instance": m.InstanceID, "client": m.ClientID, "partitions": partitions})
	}
	return answer{"state": group.State, "members": members}, nil
}
