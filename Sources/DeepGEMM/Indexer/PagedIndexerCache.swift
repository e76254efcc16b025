// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
internal import LowPrecision
public import Platform
internal import Tensors

/// The indexer's keys in blocks of tokens, each block fused as DeepGEMM's paged kernels read it: first the values of
/// *all* its tokens, then four bytes of scale for each.
///
/// | format | values of a token | scale of a token |
/// |---|---|---|
/// | FP8 E4M3 | `depth` bytes | one float32 |
/// | FP4 E2M1 | ⌈depth / 2⌉ bytes | four UE8M0 bytes, one per 32 columns |
/// | float32, bfloat16 | `depth` numbers | none |
///
/// Any block size; token t of block b is slot `b · blockSize + t`.
public struct PagedIndexerCache: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because logits only read the bytes; who stores keys arranges that nobody reads them.

    public let format: IndexerMatrix.Format
    public let blockCount: Int
    /// Tokens in a block.
    public let blockSize: Int
    public let depth: Int
    /// Bytes from one block to the next.
    public let blockByteStride: Int
    let baseAddress: UnsafeMutableRawPointer
    private let owner: AnyObject?

    /// The deepest keys of FP4, whose scales fill four bytes.
    public static var float4DepthLimit: Int { 128 }

    /// A cache of zeros.
    ///
    /// - Throws: `usage` naming an extent that is not legal, `unavailable` without memory.
    public init(
        format: IndexerMatrix.Format, blockCount: Int, blockSize: Int = 64, depth: Int
    ) throws(FathomError) {
        let bytes = try Self.blockByteCount(format, blockCount: blockCount, blockSize: blockSize, depth: depth)
        let count = try elementCount([blockCount, bytes], of: "an indexer cache")
        let buffer = try AlignedBuffer<UInt8>(count: count, purpose: "the indexer's cache")
        // SAFETY: the buffer has all blocks and lives as long as this value.
        try self.init(
            UnsafeMutableRawPointer(buffer.baseAddress), format: format, blockCount: blockCount,
            blockSize: blockSize, depth: depth, blockByteStride: bytes, owner: buffer)
    }

    /// A cache in memory of the caller's, valid as long as the value is used.
    ///
    /// - Parameter blockByteStride: bytes from one block to the next; nil where blocks lie end to end.
    public init(
        _ baseAddress: UnsafeMutableRawPointer, format: IndexerMatrix.Format, blockCount: Int, blockSize: Int,
        depth: Int, blockByteStride: Int? = nil
    ) throws(FathomError) {
        let bytes = try Self.blockByteCount(format, blockCount: blockCount, blockSize: blockSize, depth: depth)
        try self.init(
            baseAddress, format: format, blockCount: blockCount, blockSize: blockSize, depth: depth,
            blockByteStride: blockByteStride ?? bytes, owner: nil)
    }

    private init(
        _ baseAddress: UnsafeMutableRawPointer, format: IndexerMatrix.Format, blockCount: Int, blockSize: Int,
        depth: Int, blockByteStride: Int, owner: AnyObject?
    ) throws(FathomError) {
        let least = format.byteCount(depth: depth) * blockSize + (Self.hasScales(format) ? 4 : 0) * blockSize
        guard blockByteStride >= least, blockByteStride <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage, "indexer blocks are \(blockByteStride) bytes apart; a block has \(least), so at least that")
        }
        self.baseAddress = baseAddress
        self.format = format
        self.blockCount = blockCount
        self.blockSize = blockSize
        self.depth = depth
        self.blockByteStride = blockByteStride
        self.owner = owner
    }

    private static func hasScales(_ format: IndexerMatrix.Format) -> Bool {
        format == .float8E4M3 || format == .float4E2M1
    }

    /// Bytes of one fused block.
    ///
    /// - Throws: `usage` naming an extent that is not legal.
    public static func blockByteCount(
        _ format: IndexerMatrix.Format, blockCount: Int, blockSize: Int, depth: Int
    ) throws(FathomError) -> Int {
        guard blockCount >= 0, blockCount <= Int(Int32.max) else {
            throw FathomError(.usage, "an indexer cache of \(blockCount) blocks; 0…\(Int32.max) is legal")
        }
        guard blockSize >= 1, blockSize <= 1 << 20 else {
            throw FathomError(.usage, "indexer blocks of \(blockSize) tokens; 1…\(1 << 20) is legal")
        }
        let limit = format == .float4E2M1 ? float4DepthLimit : IndexerMatrix.depthLimit
        guard depth >= 0, depth <= limit else {
            throw FathomError(
                .usage, "an indexer cache of \(format.rawValue) keys of depth \(depth); 0…\(limit) is legal")
        }
        return (format.byteCount(depth: depth) + (hasScales(format) ? 4 : 0)) * blockSize
    }

    /// The first value byte of a slot, and where its scale is. The slot must exist.
    func place(ofSlot slot: Int) -> (values: UnsafeMutableRawPointer, scale: UnsafeMutableRawPointer) {
        let (block, token) = slot.quotientAndRemainder(dividingBy: blockSize)
        let rowBytes = format.byteCount(depth: depth)
        // SAFETY: a block holds all tokens' values and then four bytes for each.
        let start = baseAddress + block * blockByteStride
        return (start + token * rowBytes, start + blockSize * rowBytes + token * 4)
    }

    /// Quantises keys [count, depth] into the slots: FP8 with one scale max(amax, 10⁻⁴)/448 per key (DeepGEMM
    /// `kv_cache_cast_to_fp8`), FP4 with one scale per 32 columns rounded up to a power of two.
    ///
    /// - Throws: `usage` if extents differ or a slot does not exist, before anything is written.
    public func store(_ keys: FloatRows, slots: [Int], on context: ComputeContext) throws(FathomError) {
        guard keys.columnCount == depth, keys.rowCount == slots.count else {
            throw FathomError(
                .usage,
                "keys [\(keys.rowCount), \(keys.columnCount)] for \(slots.count) slots of depth \(depth); "
                    + "[\(slots.count), \(depth)] is legal")
        }
        for (index, slot) in slots.enumerated() where slot < 0 || slot >= blockCount * blockSize {
            throw FathomError(
                .usage, "slot \(slot) of key \(index); the indexer's cache has 0..<\(blockCount * blockSize)")
        }
        switch format {
        case .float8E4M3:
            let matrix = try quantizeFloat8(keys, granularity: .perToken(max(depth, 1)), on: context)
            for (row, slot) in slots.enumerated() {
                // SAFETY: the slot exists, and a row has as many bytes in the matrix as in the cache.
                let place = place(ofSlot: slot)
                place.values.copyMemory(from: matrix.codes.baseAddress + row * depth, byteCount: depth)
                let scale = depth == 0 ? 0 : matrix.scales[row, 0]
                place.scale.storeBytes(of: scale, as: Float.self)
            }
        case .float4E2M1:
            let matrix = try quantizeFloat4(keys, on: context)
            let bytes = matrix.rowByteCount
            for (row, slot) in slots.enumerated() {
                // SAFETY: as above.
                let place = place(ofSlot: slot)
                place.values.copyMemory(from: matrix.codes.baseAddress + row * bytes, byteCount: bytes)
                let codes = (0..<4).map { block in
                    block < matrix.scales.columnBlocks
                        ? UE8M0(clampingUp: matrix.scales[row, block]) : UE8M0(bitPattern: 0)
                }
                let word = UE8M0.pack(codes[0], codes[1], codes[2], codes[3])
                place.scale.storeBytes(of: word, as: Int32.self)
            }
        case .float32, .bfloat16:
            for (row, slot) in slots.enumerated() {
                for column in 0..<depth {
                    let value = keys.value(row: row, column: column)
                    // SAFETY: as above.
                    let place = place(ofSlot: slot).values
                    if format == .float32 {
                        place.storeBytes(of: value, toByteOffset: column * 4, as: Float.self)
                    } else {
                        let bits = BFloat16(value).bitPattern
                        place.storeBytes(of: bits, toByteOffset: column * 2, as: UInt16.self)
                    }
                }
            }
        }
    }
}

/// One request's keys in a cache.
struct PagedIndexerKeys: IndexerKeySource {
    let cache: PagedIndexerCache
    /// The request's blocks in order.
    let blocks: ArraySlice<Int32>

    func decode(
        keys: Range<Int>, to destination: UnsafeMutablePointer<Float>, stride: Int,
        scales: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        let rowBytes = cache.format.byteCount(depth: cache.depth)
        var key = keys.lowerBound
        while key < keys.upperBound {
            // A run of tokens that lie in one block.
            let (index, token) = key.quotientAndRemainder(dividingBy: cache.blockSize)
            let count = min(cache.blockSize - token, keys.upperBound - key)
            let place = cache.place(ofSlot: Int(blocks[blocks.startIndex + index]) * cache.blockSize + token)
            let row = key - keys.lowerBound
            // SAFETY: the table's entries in use were checked against the cache.
            decodeIndexerRows(
                cache.format,
                IndexerDecodeArguments(
                    // SAFETY: as above.
                    source: UnsafeRawPointer(place.values), sourceStride: rowBytes, rowCount: count,
                    depth: cache.depth, scales: UnsafeRawPointer(place.scale), scaleStride: 4,
                    out: destination + row * stride, outStride: stride), kernels)
            if cache.format == .float8E4M3 {
                // SAFETY: four bytes of scale for each token.
                UnsafeMutableRawPointer(scales + row).copyMemory(from: place.scale, byteCount: count * 4)
            } else {
                (scales + row).update(repeating: 1, count: count)
            }
            key += count
        }
    }
}
