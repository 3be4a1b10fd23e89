'use strict'
// The codecs that KafkaJS leaves to others: snappy, LZ4 and zstd from packages that are maintained today.

const { CompressionCodecs, CompressionTypes } = require('kafkajs')
const lz4 = require('lz4-napi')
const snappy = require('snappy')
const zstd = require('@bokuweb/zstd-wasm')

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const LARGEST = 64 << 20

// Java writes snappy in xerial's frame: magic, two versions, then blocks with their lengths. Others write one bare block.
async function unsnap(data) {
  if (!data.subarray(0, XERIAL.length).equals(XERIAL)) return snappy.uncompress(data, { asBuffer: true })
  const blocks = []
  for (let at = 16; at < data.length; ) {
    const length = data.readInt32BE(at)
    blocks.push(await snappy.uncompress(data.subarray(at + 4, at + 4 + length), { asBuffer: true }))
    at += 4 + length
  }
  return Buffer.concat(blocks)
}

async function install() {
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: encoder => snappy.compress(encoder.buffer),
    decompress: unsnap,
  })
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: encoder => lz4.compressFrame(encoder.buffer),
    decompress: data => lz4.decompressFrame(data),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
    decompress: async data => Buffer.from(zstd.decompress(data, { defaultHeapSize: LARGEST })),
  })
}

module.exports = { install }
