// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import FlashMLA
internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors
internal import Workers

/// Multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv 2405.04434, §2.1).
///
/// The key's up-projection moves to the query, q′ = W_UKᵀ q, and the value's behind the softmax, W_UV (Σ p·c), so that
/// attention runs on the cached latent itself. One form for prefill and decode, so that both give the same bits.
extension ForwardPass {
    /// Floats that the absorbed queries and results of one slab of tokens may take: 64 MiB.
    private static let slabFloats = 1 << 24

    /// hidden += attention(norm(hidden)); writes the tokens' rows to the cache.
    func attention(
        _ layer: LayerWeights, cache: LatentCacheLayer, tables: UnsafePointer<Float>,
        hidden: UnsafeMutablePointer<Float>
    ) throws(FathomError) {
        let attention = layer.attention
        try StoredWeight.check(attention.all, on: context)
        try arena.scope { () throws(FathomError) in
            let normed = try arena.take(batch.count * hiddenSize)
            normalize(hidden, rows: batch.count, width: hiddenSize, by: layer.inputNorm, into: normed)
            let input = try activations(normed, rows: batch.count, width: hiddenSize, for: attention.latentDown)
            let queries = try self.queries(attention, input: input, tables: tables)
            try writeCache(attention, cache, input: input, tables: tables)
            let values = try arena.take(batch.count * configuration.headCount * configuration.valueHeadDimension)
            try attend(attention, cache, queries: queries, values: values)
            let width = configuration.headCount * configuration.valueHeadDimension
            let rounded = try activations(values, rows: batch.count, width: width, for: attention.output)
            add(try project(rounded, rows: batch.count, by: attention.output), to: hidden, rows: batch.count)
        }
    }

    /// Queries [tokens, heads, nope + rope], rotated.
    private func queries(
        _ attention: AttentionWeights, input: LayerInput, tables: UnsafePointer<Float>
    ) throws(FathomError) -> UnsafeMutablePointer<Float> {
        let queries: UnsafeMutablePointer<Float>
        switch attention.query {
        case .direct(let weight):
            queries = try project(input, rows: batch.count, by: weight)
        case .lowRank(let down, let norm, let up):
            let latent = try project(input, rows: batch.count, by: down)
            normalize(latent, rows: batch.count, width: norm.count, by: norm, into: latent)
            let rounded = try activations(latent, rows: batch.count, width: norm.count, for: up)
            queries = try project(rounded, rows: batch.count, by: up)
        }
        let c = configuration
        context.team.run(taskCount: batch.count) { token, _ in
            for head in 0..<c.headCount {
                let query = queries + (token * c.headCount + head) * c.queryHeadDimension
                rotary.rotate(query + c.nopeHeadDimension, by: tables + token * c.ropeHeadDimension)
            }
        }
        return queries
    }

    /// Computes the tokens' latents and rotated keys and stores them.
    private func writeCache(
        _ attention: AttentionWeights, _ cache: LatentCacheLayer, input: LayerInput,
        tables: UnsafePointer<Float>
    ) throws(FathomError) {
        let c = configuration
        let rows = try project(input, rows: batch.count, by: attention.latentDown)
        normalize(
            rows, rows: batch.count, width: c.latentRank, stride: c.cacheRowWidth, by: attention.latentNorm,
            into: rows)
        let kernels = context.kernels
        for (chunk, start) in zip(batch.chunks, batch.starts) {
            chunk.blockTable.withUnsafeBufferPointer { table in
                guard let blocks = table.baseAddress else { return }
                for index in chunk.tokens.indices {
                    let row = rows + (start + index) * c.cacheRowWidth
                    rotary.rotate(row + c.latentRank, by: tables + (start + index) * c.ropeHeadDimension)
                    let slot = cache.row(chunk.firstPosition + index, blockTable: blocks)
                    switch cache.format {
                    case .float32: slot.copyMemory(from: row, byteCount: c.cacheRowWidth * 4)
                    case .bfloat16:
                        kernels.roundBFloat16(row, slot.assumingMemoryBound(to: UInt16.self), c.cacheRowWidth)
                    }
                }
            }
        }
    }

    /// Attends, in slabs of tokens that bound the memory, and writes the heads' values [tokens, heads, value].
    private func attend(
        _ attention: AttentionWeights, _ cache: LatentCacheLayer, queries: UnsafeMutablePointer<Float>,
        values: UnsafeMutablePointer<Float>
    ) throws(FathomError) {
        let c = configuration
        let slab = max(1, Self.slabFloats / (c.headCount * (2 * c.cacheRowWidth + c.latentRank)))
        for (chunk, start) in zip(batch.chunks, batch.starts) where chunk.tokens.count > slab {
            for first in Swift.stride(from: 0, to: chunk.tokens.count, by: slab) {
                let part = first..<min(first + slab, chunk.tokens.count)
                try attend([(chunk, part, start)], attention, cache, queries, values)
            }
        }
        // Chunks that fit are attended together, as many at a time as fit.
        var group: [(SequenceChunk, Range<Int>, Int)] = []
        var size = 0
        for (chunk, start) in zip(batch.chunks, batch.starts) where chunk.tokens.count <= slab {
            if size + chunk.tokens.count > slab {
                try attend(group, attention, cache, queries, values)
                group = []
                size = 0
            }
            group.append((chunk, chunk.tokens.indices, start))
            size += chunk.tokens.count
        }
        if !group.isEmpty { try attend(group, attention, cache, queries, values) }
    }

    /// One slab: stretches of chunks with the batch index of each chunk's first token.
    private func attend(
        _ parts: [(chunk: SequenceChunk, tokens: Range<Int>, start: Int)], _ attention: AttentionWeights,
        _ cache: LatentCacheLayer, _ queries: UnsafeMutablePointer<Float>, _ values: UnsafeMutablePointer<Float>
    ) throws(FathomError) {
        let c = configuration
        let rows = parts.flatMap { part in part.tokens.map { part.start + $0 } }
        try arena.scope { () throws(FathomError) in
            let absorbed = try absorb(attention.latentUp.matrix, rows, queries, for: cache)
            let attended = try arena.take(rows.count * c.headCount * c.latentRank)
            let tables = try blockTables(parts.map(\.chunk.blockTable))
            var requests: [AttentionRequest] = []
            var index = 0
            for (part, table) in zip(parts, tables) {
                requests.append(
                    AttentionRequest(
                        queries: absorbed.rows + index * c.headCount * c.cacheRowWidth * absorbed.type.byteCount,
                        absorbed.type, out: attended + index * c.headCount * c.latentRank,
                        tokenCount: part.tokens.count,
                        firstPosition: part.chunk.firstPosition + part.tokens.lowerBound, blockTable: table))
                index += part.tokens.count
            }
            let shape = AttentionShape(
                headCount: c.headCount, rowWidth: c.cacheRowWidth, valueWidth: c.latentRank,
                scale: Float(RotaryEmbedding.softmaxScale(c)))
            try FlashMLA.attend(requests, shape: shape, cache: cache, on: context)
            expandValues(attention.latentUp.matrix, rows, attended, into: values)
        }
    }

    /// The block tables in memory that outlives the call that reads them.
    private func blockTables(_ tables: [[Int32]]) throws(FathomError) -> [UnsafePointer<Int32>] {
        var pointers: [UnsafePointer<Int32>] = []
        for table in tables {
            // SAFETY: an Int32 has the size and alignment of a Float; the arena keeps the memory for the scope.
            let memory = UnsafeMutableRawPointer(try arena.take(table.count))
                .bindMemory(to: Int32.self, capacity: table.count)
            for (index, block) in table.enumerated() { memory[index] = block }
            // SAFETY: as above.
            pointers.append(UnsafePointer(memory))
        }
        return pointers
    }

    /// Rows of a head's key projection that are decoded at a time for few queries: 16 KiB of floats beside the sums.
    private static let fewKeyRows = 8
    /// Queries that are few: more are worth decoding the projection whole.
    private static let fewQueries = 4

    /// Per head: q′ = W_UKᵀ q_nope, then the rotated part as it is: [rows, heads, latent + rope], in bfloat16 for a
    /// bfloat16 cache, as FlashMLA takes them.
    private func absorb(
        _ up: WeightMatrix, _ rows: [Int], _ queries: UnsafeMutablePointer<Float>, for cache: LatentCacheLayer
    ) throws(FathomError) -> (rows: UnsafeRawPointer, type: ScalarType) {
        let c = configuration
        let keyRows = c.nopeHeadDimension
        let queryWidth = c.headCount * c.queryHeadDimension
        let gathered = try arena.take(rows.count * queryWidth)
        for (index, row) in rows.enumerated() {
            (gathered + index * queryWidth).update(from: queries + row * queryWidth, count: queryWidth)
        }
        let absorbed = try arena.take(rows.count * c.headCount * c.cacheRowWidth)
        let isRounded = cache.format == .bfloat16
        // SAFETY: half as many floats hold the same numbers in bfloat16.
        let rounded = UnsafeMutableRawPointer(
            try arena.take(isRounded ? (rows.count * c.headCount * c.cacheRowWidth + 1) / 2 : 0)
        ).assumingMemoryBound(to: UInt16.self)
        precondition(keyRows * c.latentRank <= ComputeContext.scratchCount, "one head's key projection fits scratch")
        let step = rows.count <= Self.fewQueries ? Self.fewKeyRows : keyRows
        context.team.run(taskCount: c.headCount) { head, worker in
            let keys = context.scratch(of: worker)
            let firstRow = head * (keyRows + c.valueHeadDimension)
            let query = gathered + head * c.queryHeadDimension
            let out = absorbed + head * c.cacheRowWidth
            for first in Swift.stride(from: 0, to: keyRows, by: step) {
                let count = min(step, keyRows - first)
                // Decoding and multiplying take turns: the next rows come from memory meanwhile.
                context.kernels.prefetchRows(
                    up.baseAddress + (firstRow + first + count) * up.rowStride, min(step, keyRows - first - count),
                    up.rowStride, up.rowStride)
                for row in 0..<count { decodeRow(firstRow + first + row, of: up, to: keys + row * c.latentRank) }
                // SAFETY: extents are those of the gathered queries, the decoded rows and the absorbed queries.
                var product = OuterProductArguments(
                    a: query + first, aStride: queryWidth, b: keys, bStride: c.latentRank, out: out,
                    outStride: c.headCount * c.cacheRowWidth, rowCount: rows.count, innerCount: count,
                    columnCount: c.latentRank, accumulates: first > 0)
                context.kernels.outerProduct(&product)
            }
            for index in rows.indices {
                let row = out + index * c.headCount * c.cacheRowWidth
                (row + c.latentRank).update(from: query + index * queryWidth + keyRows, count: c.ropeHeadDimension)
                guard isRounded else { continue }
                context.kernels.roundBFloat16(row, rounded + (row - absorbed), c.cacheRowWidth)
            }
        }
        // SAFETY: the arena keeps both for the caller's scope.
        return isRounded ? (UnsafeRawPointer(rounded), .bfloat16) : (UnsafeRawPointer(absorbed), .float32)
    }

    /// Per head: the value W_UV · (Σ p·c), written to the tokens' rows of [tokens, heads, value].
    private func expandValues(
        _ up: WeightMatrix, _ rows: [Int], _ attended: UnsafeMutablePointer<Float>,
        into values: UnsafeMutablePointer<Float>
    ) {
        let c = configuration
        let perHead = c.nopeHeadDimension + c.valueHeadDimension
        var problems: [LinearProblem] = []
        // Rows of one slab are consecutive tokens within each stretch: one problem per stretch and head.
        var first = 0
        while first < rows.count {
            var end = first + 1
            while end < rows.count && rows[end] == rows[end - 1] + 1 { end += 1 }
            for head in 0..<c.headCount {
                let start = head * perHead + c.nopeHeadDimension
                problems.append(
                    LinearProblem(
                        a: attended + (first * c.headCount + head) * c.latentRank, aStride: c.headCount * c.latentRank,
                        rowCount: end - first, weight: up, outputs: start..<start + c.valueHeadDimension,
                        out: values + (rows[first] * c.headCount + head) * c.valueHeadDimension,
                        outStride: c.headCount * c.valueHeadDimension))
            }
            first = end
        }
        linear(problems, on: context)
    }
}
