// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import LowPrecision
public import Platform
internal import Tensors

/// Rows [rowCount, depth] of the indexer's queries or keys, in one of four formats.
///
/// FP8 rows have one float32 scale each, or none; FP4 rows have one UE8M0 scale per 32 columns.
public struct IndexerMatrix: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the numbers are only read, and `owners` or the caller keeps them.

    /// How a row is stored.
    public enum Format: String, Sendable, CaseIterable {
        case float32, bfloat16, float8E4M3, float4E2M1

        /// Bytes of `depth` numbers; an odd number of FP4 codes is completed to whole bytes.
        public func byteCount(depth: Int) -> Int {
            switch self {
            case .float32: depth * 4
            case .bfloat16: depth * 2
            case .float8E4M3: depth
            case .float4E2M1: ceilDivide(depth, 2)
            }
        }
    }

    /// The largest `depth`, bounded by a thread's scratch memory.
    public static var depthLimit: Int { 16_384 }
    /// Columns of FP4 that share a scale.
    public static var float4Block: Int { 32 }

    public let format: Format
    public let rowCount: Int
    public let depth: Int
    let baseAddress: UnsafeRawPointer
    let rowByteStride: Int
    let rowScales: UnsafePointer<Float>?
    let blockScales: UnsafePointer<UInt8>?
    let blockScaleStride: Int
    private let owners: [AnyObject]

    private init(
        _ format: Format, _ baseAddress: UnsafeRawPointer, rowCount: Int, depth: Int, rowByteStride: Int,
        rowScales: UnsafePointer<Float>? = nil, blockScales: UnsafePointer<UInt8>? = nil, blockScaleStride: Int = 0,
        owners: [AnyObject]
    ) throws(FathomError) {
        guard depth >= 0, depth <= Self.depthLimit else {
            throw FathomError(.usage, "the indexer's depth is \(depth); 0…\(Self.depthLimit) is legal")
        }
        guard rowCount >= 0, rowCount <= ScaleGrid.extentLimit else {
            throw FathomError(.usage, "\(rowCount) indexer rows; 0…\(ScaleGrid.extentLimit) is legal")
        }
        let least = format.byteCount(depth: depth)
        guard rowByteStride >= least, rowByteStride <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage,
                "indexer rows of \(depth) \(format.rawValue) numbers are \(rowByteStride) bytes apart; "
                    + "at least \(least) is legal")
        }
        self.format = format
        self.rowCount = rowCount
        self.depth = depth
        self.baseAddress = baseAddress
        self.rowByteStride = rowByteStride
        self.rowScales = rowScales
        self.blockScales = blockScales
        self.blockScaleStride = blockScaleStride
        self.owners = owners
    }

    /// Rows of float32 or bfloat16 numbers, without scales.
    ///
    /// - Throws: `usage` for a depth beyond `depthLimit`.
    public init(_ rows: FloatRows) throws(FathomError) {
        try self.init(
            rows.element == .float32 ? .float32 : .bfloat16, rows.baseAddress, rowCount: rows.rowCount,
            depth: rows.columnCount, rowByteStride: rows.rowStride * rows.element.byteCount,
            owners: [KeptValue(rows)])
    }

    /// Rows as a quantiser made them: FP8 with one scale per row, or FP4 with a power-of-two scale per 32 columns.
    ///
    /// - Throws: `usage` for any other granularity; `badData` naming a scale of FP4 that is no power of two.
    public init(_ matrix: QuantizedMatrix) throws(FathomError) {
        let scales = matrix.scales
        switch matrix.format {
        case .float8E4M3:
            guard scales.granularity.rows == 1, scales.columnBlocks <= 1 else {
                throw FathomError(
                    .usage,
                    "FP8 rows with scales of \(scales.granularity); the indexer takes one scale per row: "
                        + "1×\(matrix.columnCount)")
            }
            // SAFETY: the kept matrix owns codes and scales.
            try self.init(
                .float8E4M3, UnsafeRawPointer(matrix.codes.baseAddress), rowCount: matrix.rowCount,
                depth: matrix.columnCount, rowByteStride: matrix.rowByteCount,
                // SAFETY: as above.
                rowScales: UnsafePointer(scales.values.baseAddress), owners: [KeptValue(matrix)])
        case .float4E2M1:
            guard scales.granularity.rows == 1,
                scales.granularity.columns == Self.float4Block || matrix.columnCount == 0
            else {
                throw FathomError(
                    .usage, "FP4 rows with scales of \(scales.granularity); the indexer takes 1×\(Self.float4Block)")
            }
            let bytes = try AlignedBuffer<UInt8>(count: scales.values.count, purpose: "indexer scales")
            for index in 0..<scales.values.count {
                // SAFETY: both buffers have this count.
                let scale = scales.values.baseAddress[index]
                guard let code = UE8M0(exactly: scale) else {
                    throw FathomError(
                        .badData,
                        "row \(index / scales.columnBlocks), block \(index % scales.columnBlocks): FP4 scale \(scale) "
                            + "is no power of two, which the indexer's FP4 needs")
                }
                bytes.baseAddress[index] = code.bitPattern
            }
            // SAFETY: the kept objects own codes and scales.
            try self.init(
                .float4E2M1, UnsafeRawPointer(matrix.codes.baseAddress), rowCount: matrix.rowCount,
                depth: matrix.columnCount, rowByteStride: matrix.rowByteCount,
                // SAFETY: as above.
                blockScales: UnsafePointer(bytes.baseAddress), blockScaleStride: scales.columnBlocks,
                owners: [KeptValue(matrix), bytes])
        }
    }

    /// FP8 codes in memory that the caller keeps valid.
    ///
    /// - Parameter scales: one per row, or nil for 1.
    public init(
        float8 codes: UnsafePointer<UInt8>, rowCount: Int, depth: Int, rowByteStride: Int? = nil,
        scales: UnsafePointer<Float>? = nil
    ) throws(FathomError) {
        // SAFETY: the caller keeps the codes valid.
        try self.init(
            .float8E4M3, UnsafeRawPointer(codes), rowCount: rowCount, depth: depth,
            rowByteStride: rowByteStride ?? depth, rowScales: scales, owners: [])
    }

    /// FP4 codes, two a byte, in memory that the caller keeps valid.
    ///
    /// - Parameters:
    ///   - scales: UE8M0 bytes, one per 32 columns; an Int32 per row of four scales is such a row.
    ///   - scaleStride: bytes from one row's scales to the next's; nil for ⌈depth / 32⌉.
    public init(
        float4 codes: UnsafePointer<UInt8>, rowCount: Int, depth: Int, rowByteStride: Int? = nil,
        scales: UnsafePointer<UInt8>, scaleStride: Int? = nil
    ) throws(FathomError) {
        let least = ceilDivide(max(depth, 0), Self.float4Block)
        let stride = scaleStride ?? least
        guard stride >= least, stride <= ScaleGrid.extentLimit else {
            throw FathomError(
                .usage, "FP4 scales of rows of \(depth) are \(stride) bytes apart; at least \(least) is legal")
        }
        // SAFETY: the caller keeps the codes valid.
        try self.init(
            .float4E2M1, UnsafeRawPointer(codes), rowCount: rowCount, depth: depth,
            rowByteStride: rowByteStride ?? ceilDivide(max(depth, 0), 2), blockScales: scales,
            blockScaleStride: stride, owners: [])
    }

    /// Decodes rows to `depth` floats each, `stride` apart, without the rows' own scales; FP4 with its block scales.
    func decode(
        rows: Range<Int>, to destination: UnsafeMutablePointer<Float>, stride: Int, _ kernels: KernelTable
    ) {
        // SAFETY: the rows and their scales lie inside what the initialisers were given.
        let source = baseAddress + rows.lowerBound * rowByteStride
        let scales = blockScales.map { UnsafeRawPointer($0 + rows.lowerBound * blockScaleStride) } ?? source
        decodeIndexerRows(
            format,
            IndexerDecodeArguments(
                source: source, sourceStride: rowByteStride, rowCount: rows.count, depth: depth, scales: scales,
                scaleStride: blockScaleStride, out: destination, outStride: stride), kernels)
    }
}

/// Decodes stored rows of any format; the scales are for FP4 alone.
func decodeIndexerRows(
    _ format: IndexerMatrix.Format, _ arguments: IndexerDecodeArguments, _ kernels: KernelTable
) {
    var arguments = arguments
    switch format {
    case .float8E4M3: kernels.decodeIndexerE4M3(&arguments)
    case .float4E2M1: kernels.decodeIndexerFloat4(&arguments)
    case .float32, .bfloat16:
        for row in 0..<arguments.rowCount {
            // SAFETY: the caller's rows have `depth` numbers in this format, and `out` has room for them.
            let source = arguments.source + row * arguments.sourceStride
            let out = arguments.out + row * arguments.outStride
            if format == .float32 {
                // SAFETY: as above.
                UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: arguments.depth * 4)
            } else {
                kernels.decodeBFloat16(source, out, arguments.depth, 1)
            }
        }
    }
}

/// Keeps the owners inside a value alive.
final class KeptValue<Value> {
    private let value: Value
    init(_ value: Value) { self.value = value }
}
