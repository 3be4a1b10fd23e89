'use strict'
// A member of a group: says what it is given and what it reads, and commits only what it has said.

const { PartitionAssigners } = require('kafkajs')

// KafkaJS calls its assignor `RoundRobinAssigner`; members of other languages know the same thing by Kafka's name.
const roundrobin = context => ({ ...PartitionAssigners.roundRobin(context), name: 'roundrobin' })

class Member {
  constructor(kafka, command, say) {
    this.say = say
    this.topic = command.topic
    this.consumer = kafka.consumer({
      groupId: command.group,
      partitionAssigners: [roundrobin],
      sessionTimeout: command.session_ms || 6000,
      rebalanceTimeout: 60_000,
      heartbeatInterval: 500,
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: false,
      retry: { retries: 50, initialRetryTime: 100, maxRetryTime: 1000 },
    })
    this.assigned = []
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.revoked()
      this.assigned = payload.memberAssignment[this.topic] || []
      say({ event: 'assigned', partitions: this.assigned })
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => this.revoked())
    this.consumer.on(this.consumer.events.CRASH, ({ payload }) => {
      say({ event: payload.restart ? 'trouble' : 'died', why: String(payload.error) })
    })
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: this.topic, fromBeginning: true })
    await this.consumer.run({ autoCommit: false, eachBatch: batch => this.read(batch) })
  }

  revoked() {
    if (this.assigned.length > 0) this.say({ event: 'revoked', partitions: this.assigned })
    this.assigned = []
  }

  async read({ batch, resolveOffset, heartbeat, isRunning, isStale }) {
    if (!isRunning() || isStale()) return
    const records = batch.messages.map(({ offset, value }) => [batch.partition, Number(offset), value.toString()])
    this.say({ event: 'records', records })
    const next = Number(batch.lastOffset()) + 1
    resolveOffset(batch.lastOffset())
    try {
      await this.consumer.commitOffsets([{ topic: this.topic, partition: batch.partition, offset: String(next) }])
      this.say({ event: 'committed', offsets: [[batch.partition, next]] })
    } catch (problem) {
      this.say({ event: 'trouble', why: String(problem) })
      throw problem // KafkaJS joins again
    }
    await heartbeat()
  }

  async leave() {
    await this.consumer.disconnect()
  }
}

module.exports = { Member }
