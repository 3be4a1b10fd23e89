'use strict'
// The admin commands of ../README.md, and `offsets`, which KafkaJS' consumer has no call for.

const { AssignerProtocol, ConfigResourceTypes } = require('kafkajs')

class Admin {
  constructor(kafka) {
    this.client = kafka.admin()
  }

  async close() {
    if (this.connected) await this.client.disconnect()
  }

  async answer(command) {
    if (!this.connected) await this.client.connect()
    this.connected = true
    const { client } = this
    const { topic, group } = command
    switch (command.do) {
      case 'create_topic': {
        const configEntries = Object.entries(command.configs || {}).map(([name, value]) => ({ name, value }))
        const made = await client.createTopics({ topics: [{ topic, numPartitions: command.partitions, replicationFactor: 1, configEntries }] })
        // KafkaJS says that a topic exists by `false`.
        return made ? {} : { error: `topic ${topic} exists`, code: 'TOPIC_ALREADY_EXISTS' }
      }
      case 'delete_topic':
        return void (await client.deleteTopics({ topics: [topic] }))
      case 'list_topics':
        return { topics: await client.listTopics() }
      case 'create_partitions':
        return void (await client.createPartitions({ topicPartitions: [{ topic, count: command.count }] }))
      case 'describe_configs': {
        const described = await client.describeConfigs({ resources: [resource(command)], includeSynonyms: false })
        return { configs: Object.fromEntries(described.resources[0].configEntries.map(entry => [entry.configName, entry.configValue])) }
      }
      case 'alter_configs': {
        const configEntries = Object.entries(command.configs).map(([name, value]) => ({ name, value }))
        return void (await client.alterConfigs({ validateOnly: false, resources: [{ ...resource(command), configEntries }] }))
      }
      case 'delete_records':
        return void (await client.deleteTopicRecords({ topic, partitions: [{ partition: command.partition, offset: String(command.before) }] }))
      case 'offsets':
      case 'list_offsets':
        return { offsets: await this.offsets(command) }
      case 'list_groups':
        return { groups: (await client.listGroups()).groups.map(({ groupId }) => groupId) }
      case 'describe_group':
        return this.describeGroup(group)
      case 'delete_group':
        return void (await client.deleteGroups([group]))
      case 'group_offsets': {
        const found = await client.fetchOffsets({ groupId: group })
        const offsets = found.flatMap(({ partitions }) => partitions.map(({ partition, offset, metadata }) => [partition, Number(offset), metadata]))
        return { offsets: offsets.sort((left, right) => left[0] - right[0]) }
      }
      case 'set_group_offset':
        return void (await client.setOffsets({ groupId: group, topic, partitions: [{ partition: command.partition, offset: String(command.offset) }] }))
      case 'describe_cluster': {
        const cluster = await client.describeCluster()
        const brokers = cluster.brokers.map(({ nodeId, host, port }) => [nodeId, host, port])
        return { cluster: cluster.clusterId, controller: cluster.controller, brokers }
      }
      default:
        return { error: `unknown command ${command.do}` }
    }
  }

  async offsets({ topic, partitions, at }) {
    if (at === 'max') throw new Error('this client cannot ask for the greatest timestamp')
    const found = typeof at === 'number' ? await this.client.fetchTopicOffsetsByTimestamp(topic, at) : await this.client.fetchTopicOffsets(topic)
    const side = at === 'earliest' ? 'low' : 'offset'
    return partitions.map(wanted => Number(found.find(({ partition }) => partition === wanted)[side]))
  }

  async describeGroup(group) {
    const { state, members } = (await this.client.describeGroups([group])).groups[0]
    return {
      state,
      members: members.map(({ clientId, memberAssignment }) => {
        const decoded = AssignerProtocol.MemberAssignment.decode(memberAssignment)
        const partitions = decoded ? Object.values(decoded.assignment).flat() : []
        return { client: clientId, instance: null, partitions: partitions.sort((left, right) => left - right) }
      }),
    }
  }
}

function resource(command) {
  return 'broker' in command ? { type: ConfigResourceTypes.BROKER, name: command.broker } : { type: ConfigResourceTypes.TOPIC, name: command.topic }
}

module.exports = { Admin }
