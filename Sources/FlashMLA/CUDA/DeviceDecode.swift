// SPDX-License-Identifier: MIT

package import CUDA
public import Platform

/// Dense decoding on a GPU: as `denseDecode` on the CPU, for 576-wide rows with 512-wide values and pages of 64.
///
/// Puts three kernels into the device's stream and returns: one cuts the requests among the multiprocessors by their
/// lengths, one attends, one adds up the pieces of requests that were cut, in the order of their keys. Weights are
/// rounded to the cache's type before they meet the values, as in FlashMLA; sums are float32. A query that sees no key
/// has out = 0 and log-sum +∞. The same call always gives the same bits; how requests are cut depends on all lengths,
/// and with it the rounding.
///
/// - Parameters:
///   - queries: [requests, tokens, heads, 576].
///   - isCausal: whether token i sees only what was there before token i + 1.
///   - scale: multiplies the dot products; 1 / √576 if nil.
///   - out: [requests, tokens, heads, 512].
///   - logSums: float32 [requests, heads, tokens].
/// - Throws: `usage` naming the rule, what was given and what is legal; what the driver or the compiler says.
public func denseDecode(
    queries: DeviceDecodeTensor, cache: DevicePagedCache, sequences: DevicePagedSequences, isCausal: Bool,
    scale: Float? = nil, out: DeviceDecodeTensor, logSums: UInt64, on device: MLADevice
) throws(FathomError) {
    try DeviceDecodeRule.check(queries, cache, sequences, out, logSums)
    guard queries.requestCount > 0 else { return }
    let rows = queries.tokenCount * queries.headCount
    let tileRows = rows / cache.keyHeadCount
    let tiles = (tileRows + CUDAMLAKernel.tileRows - 1) / CUDAMLAKernel.tileRows
    let parts = CUDAMLAParts.count(
        multiprocessors: device.multiprocessorCount, rowCount: tileRows, keyHeadCount: cache.keyHeadCount)
    var arguments = CUDAMLAArguments()
    try arguments.placeScratch(requests: queries.requestCount, rows: rows, parts: parts, device)
    arguments.queries = queries.address
    arguments.queryStrides = (
        Int64(queries.requestStride), Int64(queries.tokenStride), Int64(queries.headStride)
    )
    arguments.pageTable = sequences.blockTable
    arguments.pageTableStride = Int32(sequences.blocksPerRequest)
    arguments.lengths = sequences.lengths
    arguments.out = out.address
    arguments.outStrides = (Int64(out.requestStride), Int64(out.tokenStride), Int64(out.headStride))
    arguments.logSums = logSums
    arguments.requests = Int32(queries.requestCount)
    arguments.tokens = Int32(queries.tokenCount)
    arguments.heads = Int32(queries.headCount)
    arguments.keyHeads = Int32(cache.keyHeadCount)
    arguments.scale = (scale ?? 1 / Float(CUDAMLAKernel.keyWidth).squareRoot()) * 1.442_695_04
    arguments.isCausal = isCausal

    let map = try TensorMap(cache.mapLayout, at: cache.address, driver: device.library.context.device.driver)
    try launch(
        CUDAMLAKernel(cache.format == .bfloat16 ? .bfloat16 : .float16), arguments, map: map,
        tiles: tiles * cache.keyHeadCount, parts: parts, on: device)
}

/// Puts the three kernels of a call into the device's stream.
func launch(
    _ kernel: CUDAMLAKernel, _ arguments: CUDAMLAArguments, map: TensorMap, tiles: Int, parts: Int,
    on device: MLADevice
) throws(FathomError) {
    let source = kernel.source(waitLimitNanoseconds: device.waitLimitNanoseconds)
    let structure = KernelArgument.structure(arguments.bytes, alignment: 8)
    try device.library.kernel(CUDAMLAKernel.schedule, of: source).launch(
        LaunchConfiguration(grid: Dimensions(1), block: Dimensions(32)), [structure, .int32(Int32(parts))],
        on: device.stream)
    try device.library.kernel(CUDAMLAKernel.attention, of: source).launch(
        LaunchConfiguration(
            grid: Dimensions(tiles, parts), block: Dimensions(CUDAMLAKernel.threadCount),
            dynamicSharedBytes: CUDAMLAKernel.sharedBytes, startsEarly: true),
        [.tensorMap(map), structure], on: device.stream)
    let rows = Int(arguments.tokens * arguments.heads)
    try device.library.kernel(CUDAMLAKernel.combine, of: source).launch(
        LaunchConfiguration(
            grid: Dimensions((rows + 3) / 4, Int(arguments.requests)), block: Dimensions(128), startsEarly: true),
        [structure], on: device.stream)
}

extension CUDAMLAArguments {
    /// Gives a call room for its cut and its pieces: a request has one more for each part that it is cut by.
    mutating func placeScratch(requests: Int, rows: Int, parts: Int, _ device: MLADevice) throws(FathomError) {
        let pieces = requests + parts
        // Parts are 32 bytes each and lie at a multiple of that.
        let endsAt = parts * 32
        let sumsAt = (endsAt + (requests + 1) * 4 + 255) / 256 * 256
        let outAt = (sumsAt + pieces * rows * 4 + 255) / 256 * 256
        let scratch = try device.scratch(byteCount: outAt + pieces * rows * CUDAMLAKernel.valueWidth * 4)
        self.parts = scratch
        pieceEnds = scratch + UInt64(endsAt)
        pieceLogSums = scratch + UInt64(sumsAt)
        pieceOut = scratch + UInt64(outAt)
    }
}

extension DevicePagedCache {
    /// Boxes of 64 tokens and 64 columns; dimensions innermost first: columns, tokens, key heads, blocks.
    package var mapLayout: TensorMap.Layout {
        TensorMap.Layout(
            element: format == .bfloat16 ? .bfloat16 : .float16,
            dimensions: [CUDAMLAKernel.keyWidth, CUDAMLAKernel.pageSize, keyHeadCount, max(1, blockCount)],
            byteStrides: [rowStride * 2, headStride * 2, blockStride * 2], box: [64, CUDAMLAKernel.pageSize, 1, 1],
            swizzle: .bytes128)
    }
}

/// The rules of dense decoding on a GPU.
package enum DeviceDecodeRule {
    /// Requests of one call: the third kernel has a row of blocks for each.
    private static let maximumRequests = 65_535
    /// Query rows of one request and key head.
    private static let maximumRows = 1 << 20

    /// - Throws: `usage` naming the first rule that is broken.
    package static func check(
        _ queries: DeviceDecodeTensor, _ cache: DevicePagedCache, _ sequences: DevicePagedSequences,
        _ out: DeviceDecodeTensor, _ logSums: UInt64
    ) throws(FathomError) {
        try check(queries, "queries", width: CUDAMLAKernel.keyWidth)
        try check(out, "out", width: CUDAMLAKernel.valueWidth)
        try checkSameRows(out, queries)
        guard cache.keyHeadCount > 0, queries.headCount % cache.keyHeadCount == 0 else {
            throw FathomError(
                .usage,
                "\(queries.headCount) query heads for \(cache.keyHeadCount) key heads; legal is a multiple of them")
        }
        for (name, stride) in [
            ("block", cache.blockStride), ("row", cache.rowStride), ("head", cache.headStride),
        ] where stride <= 0 || stride % 8 != 0 {
            throw FathomError(
                .usage, "the cache's \(name) stride is \(stride) elements; legal are multiples of 8 from 8")
        }
        for (name, address) in [
            ("the cache", cache.address), ("the block table", sequences.blockTable), ("lengths", sequences.lengths),
            ("log-sums", logSums),
        ] where address == 0 || address % (name == "the cache" ? 16 : 4) != 0 {
            throw FathomError(
                .usage, "\(name): address \(address); legal is one on the device, aligned to its numbers")
        }
        guard cache.blockCount >= 0, cache.blockCount <= Int(Int32.max), sequences.blocksPerRequest >= 0 else {
            throw FathomError(
                .usage, "\(cache.blockCount) blocks, \(sequences.blocksPerRequest) of a request; legal are 0 or more")
        }
    }

    /// Results have a row for each query.
    static func checkSameRows(
        _ out: DeviceDecodeTensor, _ queries: DeviceDecodeTensor
    ) throws(FathomError) {
        guard
            (out.requestCount, out.tokenCount, out.headCount)
                == (queries.requestCount, queries.tokenCount, queries.headCount)
        else {
            throw FathomError(
                .usage,
                "out is [\(out.requestCount), \(out.tokenCount), \(out.headCount)]; legal is what the queries are, "
                    + "[\(queries.requestCount), \(queries.tokenCount), \(queries.headCount)]")
        }
    }

    /// A tensor by itself.
    static func check(
        _ tensor: DeviceDecodeTensor, _ name: String, width: Int
    ) throws(FathomError) {
        guard tensor.width == width else {
            throw FathomError(.usage, "\(name): \(tensor.width) wide; the GPU takes \(width)")
        }
        guard (0...maximumRequests).contains(tensor.requestCount) else {
            throw FathomError(.usage, "\(name): \(tensor.requestCount) requests; legal are 0 to \(maximumRequests)")
        }
        guard (1...maximumRows).contains(tensor.tokenCount), (1...maximumRows).contains(tensor.headCount),
            tensor.tokenCount * tensor.headCount <= maximumRows
        else {
            throw FathomError(
                .usage,
                "\(name): \(tensor.tokenCount) tokens of \(tensor.headCount) heads; legal are 1 to \(maximumRows) rows")
        }
        guard tensor.address != 0, tensor.address % 16 == 0 else {
            throw FathomError(
                .usage, "\(name): address \(tensor.address); legal is one on the device, a multiple of 16")
        }
        for stride in [tensor.requestStride, tensor.tokenStride, tensor.headStride]
        where stride < 0 || stride % 8 != 0 {
            throw FathomError(.usage, "\(name): a stride of \(stride) elements; legal are multiples of 8")
        }
    }
}
