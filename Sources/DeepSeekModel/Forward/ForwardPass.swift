// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import FlashMLA
internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Telemetry
internal import Tensors
internal import Workers

/// One step of the model: embeds the batch's tokens, runs the layers, returns logits.
///
/// Everything is float32 except what is stored, weights as in the checkpoint and the cache in its own format; queries
/// and attention's weights are bfloat16 beside a bfloat16 cache, and activations FP8 for FP8 weights if so configured.
struct ForwardPass {
    let configuration: DeepSeekConfiguration
    let weights: ModelWeights
    let rotary: RotaryEmbedding
    let router: Router
    let cache: LatentCache
    let quantizesActivations: Bool
    let context: ComputeContext
    let arena: Arena
    let batch: TokenBatch
    /// Where the experts are, if not all in this process. Then a step without tokens still computes for other ranks.
    var exchange: LayerExchange?

    var hiddenSize: Int { configuration.hiddenSize }

    func run() throws(FathomError) -> LogitsMatrix {
        try arena.scope { () throws(FathomError) in
            let hidden = try arena.take(batch.count * hiddenSize)
            try embed(into: hidden)
            let tables = try rotaryTables()
            for (index, layer) in weights.layers.enumerated() {
                if batch.count > 0 {
                    try Spans.measure(.attentionBlock, index, batch.count) { () throws(FathomError) in
                        try attention(layer, cache: cache.layer(index), tables: tables, hidden: hidden)
                    }
                }
                try Spans.measure(.feedForward, index, batch.count) { () throws(FathomError) in
                    try feedForward(layer, index: index, hidden: hidden)
                }
            }
            return try Spans.measure(.head, batch.logitsRows.count) { () throws(FathomError) in try logits(hidden) }
        }
    }

    /// Copies the tokens' rows of the embedding.
    private func embed(into hidden: UnsafeMutablePointer<Float>) throws(FathomError) {
        let table = weights.embedding.matrix
        for (index, token) in batch.tokens.enumerated() {
            let row = hidden + index * hiddenSize
            decodeRow(Int(token), of: table, to: row)
            for column in 0..<hiddenSize where !row[column].isFinite {
                throw nonFiniteError(table.tensor, element: Int(token) * hiddenSize + column)
            }
        }
    }

    /// Row `index` of a weight as floats.
    func decodeRow(_ index: Int, of weight: WeightMatrix, to out: UnsafeMutablePointer<Float>) {
        let source = weight.baseAddress + index * weight.rowStride
        switch weight.format {
        // SAFETY: the row has `inputCount` numbers and `out` has room for as many floats.
        case .float32: UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: weight.rowStride)
        case .bfloat16: context.kernels.decodeBFloat16(source, out, weight.inputCount, 1)
        case .float16: context.kernels.decodeFloat16(source, out, weight.inputCount, 1)
        case .float8E4M3:
            guard let scales = weight.scalePointer else { return }
            let row = scales + index / weight.blockRows * weight.scaleStride
            for first in stride(from: 0, to: weight.inputCount, by: weight.blockColumns) {
                context.kernels.decodeFloat8E4M3(
                    source + first, out + first, min(weight.blockColumns, weight.inputCount - first),
                    row[first / weight.blockColumns])
            }
        }
    }

    private func rotaryTables() throws(FathomError) -> UnsafeMutablePointer<Float> {
        let width = configuration.ropeHeadDimension
        let tables = try arena.take(batch.count * width)
        for (index, position) in batch.positions.enumerated() {
            rotary.table(position: position, into: tables + index * width)
        }
        return tables
    }

    /// The head's logits for the rows asked for.
    private func logits(_ hidden: UnsafeMutablePointer<Float>) throws(FathomError) -> LogitsMatrix {
        let rows = batch.logitsRows
        let vocabulary = configuration.vocabularySize
        guard !rows.isEmpty else { return LogitsMatrix(rowCount: 0, vocabularySize: vocabulary, values: []) }
        let selected = try arena.take(rows.count * hiddenSize)
        for (index, row) in rows.enumerated() {
            (selected + index * hiddenSize).update(from: hidden + row * hiddenSize, count: hiddenSize)
        }
        normalize(selected, rows: rows.count, width: hiddenSize, by: weights.finalNorm, into: selected)
        try StoredWeight.check([weights.head], on: context)
        let head = weights.head.matrix
        let values = [Float](unsafeUninitializedCapacity: rows.count * vocabulary) { buffer, count in
            // SAFETY: `linear` writes every element of the buffer.
            guard let out = buffer.baseAddress else { return }
            linear(
                [
                    LinearProblem(
                        a: selected, aStride: hiddenSize, rowCount: rows.count, weight: head, out: out,
                        outStride: vocabulary)
                ], on: context)
            count = rows.count * vocabulary
        }
        let fault = values.withUnsafeBytes { bytes in
            bytes.baseAddress.map { context.kernels.firstNonFinite32($0, values.count) } ?? -1
        }
        guard fault < 0 else {
            throw FathomError(
                .internal,
                "the model's logits are not finite, although its weights are: an activation overflowed float32")
        }
        return LogitsMatrix(rowCount: rows.count, vocabularySize: vocabulary, values: values)
    }
}
