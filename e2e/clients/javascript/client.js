'use strict'
// client.js ADDRESS: KafkaJS behind the commands of ../README.md.

const readline = require('node:readline')
const { CompressionTypes, Kafka, logLevel } = require('kafkajs')
const { Admin } = require('./admin')
const { Member } = require('./member')
const codecs = require('./codecs')

const PATIENCE = 30_000
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => ({ label, log }) => process.stderr.write(`${label} ${JSON.stringify(log)}\n`),
})

const say = line => process.stdout.write(JSON.stringify(line) + '\n')
const encoded = data => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'))
const decoded = text => (text === null || text === undefined ? null : Buffer.from(text, 'base64'))

// KafkaJS keeps headers in an object: a key that is there twice has a list of values, in their order.
function headersToObject(headers) {
  const object = {}
  for (const [name, value] of headers || []) {
    if (name in object) object[name] = [].concat(object[name], [decoded(value)])
    else object[name] = decoded(value)
  }
  return object
}

function objectToHeaders(object) {
  return Object.entries(object || {}).flatMap(([name, values]) => (Array.isArray(values) ? values : [values]).map(value => [name, encoded(value)]))
}

async function produce(command) {
  const acks = { all: -1, 1: 1, 0: 0 }[command.acks || 'all']
  const producer = kafka.producer({ idempotent: command.idempotent !== false && acks === -1, maxInFlightRequests: 5 })
  await producer.connect()
  try {
    const messages = command.records.map(record => ({
      partition: record.partition,
      key: decoded(record.key),
      value: decoded(record.value),
      headers: headersToObject(record.headers),
      timestamp: record.timestamp === null || record.timestamp === undefined ? undefined : String(record.timestamp),
    }))
    const sent = await producer.send({ topic: command.topic, messages, acks, compression: COMPRESSION[command.compression] })
    const next = new Map(sent.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
    const offsets = command.records.map(({ partition }) => {
      const offset = next.get(partition)
      next.set(partition, offset + 1)
      return offset
    })
    return { offsets }
  } finally {
    await producer.disconnect()
  }
}

// KafkaJS reads in groups only: a group of its own, and a seek to where each partition shall begin.
async function consume(command) {
  const consumer = kafka.consumer({ groupId: `kafkajs-${process.pid}-${Date.now()}`, allowAutoTopicCreation: false, maxWaitTimeInMs: 100 })
  const ends = new Map(command.partitions.filter(([, start, end]) => start < end).map(([partition, , end]) => [partition, end]))
  const records = []
  await consumer.connect()
  try {
    await consumer.subscribe({ topic: command.topic, fromBeginning: true })
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`only ${records.length} records after ${PATIENCE} ms`)), PATIENCE)
      const done = end => {
        clearTimeout(timer)
        end()
      }
      if (ends.size === 0) done(resolve)
      consumer.on(consumer.events.CRASH, ({ payload }) => done(() => reject(payload.error)))
      consumer
        .run({
          autoCommit: false,
          eachMessage: async ({ partition, message }) => {
            const end = ends.get(partition)
            const offset = Number(message.offset)
            if (end === undefined) return
            if (offset < end) {
              const { timestamp, key, value, headers } = message
              records.push({ partition, offset, timestamp: Number(timestamp), key: encoded(key), value: encoded(value), headers: objectToHeaders(headers) })
            }
            if (offset + 1 >= end) ends.delete(partition)
            if (ends.size === 0) done(resolve)
          },
        })
        .catch(reject)
      for (const [partition, start, end] of command.partitions) if (start < end) consumer.seek({ topic: command.topic, partition, offset: String(start) })
    })
  } finally {
    await consumer.disconnect()
  }
  return { records }
}

async function main() {
  await codecs.install()
  const admin = new Admin(kafka)
  let member
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const command = JSON.parse(line)
    try {
      if (command.do === 'produce') say(await produce(command))
      else if (command.do === 'consume') say(await consume(command))
      else if (command.do === 'join') {
        member = new Member(kafka, command, say)
        await member.start()
        say({})
      } else if (command.do === 'leave') {
        if (member) await member.leave()
        member = undefined
        say({})
      } else say((await admin.answer(command)) || {})
    } catch (problem) {
      const cause = problem.cause || problem
      const known = problem.type || cause.type || [problem.errors, problem.groups].flat().map(each => each && (each.type || (each.error && each.error.type))).find(Boolean)
      say({ error: String(problem), ...(known ? { code: known } : {}) })
    }
  }
  if (member) await member.leave()
  await admin.close()
}

main()
