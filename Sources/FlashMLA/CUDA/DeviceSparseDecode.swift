// SPDX-License-Identifier: MIT

internal import CUDA
public import Platform

/// Packed FP8 rows in a device's memory, 656 bytes each (`PackedLatentFormat.v32`), in pages.
public struct DevicePackedPool: Sendable {
    /// A multiple of 16.
    public var address: UInt64
    /// Tokens in a page, any number.
    public var pageSize: Int
    public var pageCount: Int
    /// Bytes from a page to the next; a multiple of 16.
    public var pageStride: Int

    /// Without a stride, pages follow each other.
    public init(_ address: UInt64, pageSize: Int, pageCount: Int, pageStride: Int? = nil) {
        self.address = address
        self.pageSize = pageSize
        self.pageCount = pageCount
        self.pageStride = pageStride ?? pageSize &* PackedLatentFormat.v32.tokenByteCount
    }
}

/// Lists of rows in a device's memory.
public struct DeviceSelection: Sendable {
    /// Int32 [requests, tokens, count]: rows of the pool, page · pageSize + offset; any other number is a hole.
    public var indices: UInt64
    public var count: Int
    /// Int32 [requests]: how many entries of a request's lists are read; nil for all.
    public var lengths: UInt64?

    public init(indices: UInt64, count: Int, lengths: UInt64? = nil) {
        self.indices = indices
        self.count = count
        self.lengths = lengths
    }
}

/// Sparse decoding on a GPU: as `sparseDecode` on the CPU over one pool of V3.2's packed rows, 576 wide with 512-wide
/// values.
///
/// Each query token attends to the rows that its list names. Rows are unpacked to bfloat16, weights are rounded to it,
/// sums are float32. A sink takes part in the softmax as one more key without a value; log-sums are without it. A list
/// of holes gives out = 0 and log-sum +∞.
///
/// - Parameters:
///   - queries: [requests, tokens, heads, 576], bfloat16; tokens of all requests equally far from each other.
///   - scale: multiplies the dot products; 1 / √576 if nil.
///   - sinks: float32 [heads]; nil for none.
///   - out: [requests, tokens, heads, 512], bfloat16; as the queries.
///   - logSums: float32 [requests, heads, tokens].
/// - Throws: `usage` naming the rule, what was given and what is legal; what the driver or the compiler says.
public func sparseDecode(
    queries: DeviceDecodeTensor, pool: DevicePackedPool, selection: DeviceSelection, scale: Float? = nil,
    sinks: UInt64? = nil, out: DeviceDecodeTensor, logSums: UInt64, on device: MLADevice
) throws(FathomError) {
    try DeviceDecodeRule.check(queries, pool, selection, out, logSums)
    let requests = queries.requestCount * queries.tokenCount
    guard requests > 0 else { return }
    let tiles = (queries.headCount + CUDAMLAKernel.tileRows - 1) / CUDAMLAKernel.tileRows
    let parts = CUDAMLAParts.count(
        multiprocessors: device.multiprocessorCount, rowCount: queries.headCount, keyHeadCount: 1)
    var arguments = CUDAMLAArguments()
    try arguments.placeScratch(requests: requests, rows: queries.headCount, parts: parts, device)
    // A query token is a request of its own.
    arguments.queries = queries.address
    arguments.queryStrides = (Int64(queries.tokenStride), 0, Int64(queries.headStride))
    arguments.out = out.address
    arguments.outStrides = (Int64(out.tokenStride), 0, Int64(out.headStride))
    arguments.logSums = logSums
    arguments.requests = Int32(requests)
    arguments.tokens = 1
    arguments.heads = Int32(queries.headCount)
    arguments.keyHeads = 1
    arguments.scale = (scale ?? 1 / Float(CUDAMLAKernel.keyWidth).squareRoot()) * 1.442_695_04
    arguments.pool = pool.address
    arguments.poolPageStride = Int64(pool.pageStride)
    arguments.poolPageSize = Int32(pool.pageSize)
    arguments.poolRows = Int32(pool.pageSize * pool.pageCount)
    arguments.lists = selection.indices
    arguments.listCount = Int32(selection.count)
    arguments.listLengths = selection.lengths ?? 0
    arguments.listTokens = Int32(queries.tokenCount)
    arguments.sinks = sinks ?? 0
    // Nothing is copied through the map: any legal one will do.
    let map = try TensorMap(
        DevicePagedCache(pool.address, blockCount: 1).mapLayout, at: pool.address,
        driver: device.library.context.device.driver)
    try launch(
        CUDAMLAKernel(.bfloat16, isSparse: true), arguments, map: map, tiles: tiles, parts: parts, on: device)
}

extension DeviceDecodeRule {
    /// - Throws: `usage` naming the first rule that is broken.
    package static func check(
        _ queries: DeviceDecodeTensor, _ pool: DevicePackedPool, _ selection: DeviceSelection,
        _ out: DeviceDecodeTensor, _ logSums: UInt64
    ) throws(FathomError) {
        try check(queries, "queries", width: CUDAMLAKernel.keyWidth)
        try check(out, "out", width: CUDAMLAKernel.valueWidth)
        try checkSameRows(out, queries)
        for (name, tensor) in [("queries", queries), ("out", out)]
        where tensor.requestCount > 1 && tensor.requestStride != tensor.tokenCount * tensor.tokenStride {
            throw FathomError(
                .usage,
                "\(name): requests are \(tensor.requestStride) elements apart; legal is \(tensor.tokenCount) tokens, "
                    + "\(tensor.tokenCount * tensor.tokenStride)")
        }
        let rows = pool.pageSize.multipliedReportingOverflow(by: pool.pageCount)
        guard pool.pageSize > 0, pool.pageCount > 0, !rows.overflow, rows.partialValue <= Int(Int32.max) else {
            throw FathomError(
                .usage,
                "the pool has \(pool.pageCount) pages of \(pool.pageSize) rows; legal are 1 to \(Int32.max) rows")
        }
        guard pool.pageStride % 16 == 0,
            pool.pageStride >= pool.pageSize * PackedLatentFormat.v32.tokenByteCount
        else {
            throw FathomError(
                .usage,
                "the pool's pages are \(pool.pageStride) bytes apart; legal are multiples of 16 from "
                    + "\(pool.pageSize * PackedLatentFormat.v32.tokenByteCount)")
        }
        guard (0...1 << 24).contains(selection.count) else {
            throw FathomError(.usage, "lists of \(selection.count) entries; legal are 0 to \(1 << 24)")
        }
        for (name, address, alignment) in [
            ("the pool", pool.address, 16), ("indices", selection.indices, 4), ("log-sums", logSums, 4),
            ("list lengths", selection.lengths ?? 4, 4),
        ] as [(String, UInt64, UInt64)] where address == 0 || address % alignment != 0 {
            throw FathomError(
                .usage, "\(name): address \(address); legal is one on the device, a multiple of \(alignment)")
        }
    }
}
