// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are rows of matrices whose extents the call checked, or a worker's scratch memory.

public import KernelDispatch
internal import Kernels
public import Platform
public import Tensors
internal import Workers

/// The RMSNorm before a layer: h · weight / √(mean(h²) + ε).
public struct HyperNorm: Sendable {
    /// One number for each column of a stream.
    public var weight: [Float]
    public var epsilon: Float

    public init(weight: [Float], epsilon: Float = 1e-6) {
        self.weight = weight
        self.epsilon = epsilon
    }
}

/// How a layer's input is stored.
public enum HyperInputFormat: Sendable, Hashable {
    case float32
    /// Rounded to nearest, ties to even.
    case bfloat16
    /// E4M3 with a scale per 1×128, as `quantizeFloat8` makes it of the float32 numbers.
    case float8(powerOfTwoScales: Bool = false)
}

/// A layer's input [tokens, C], and what its output will need.
public struct HyperConnectionInput: Sendable {
    /// The numbers in the format that was asked for.
    public enum Values: Sendable {
        case float32(AlignedBuffer<Float>)
        case bfloat16(AlignedBuffer<UInt16>)
        case float8(QuantizedMatrix)
    }

    public let tokenCount: Int
    /// C.
    public let width: Int
    public let values: Values
    /// The connections' coefficients for these streams.
    public let coefficients: HyperCoefficients
}

/// Mixes n residual streams into a layer's input: coefficients, mix, RMSNorm and FP8 in one call. The first half of
/// DeepGEMM's `mega_mhc`; see `HyperConnections` for the definition, and `hyperConnectionOutput` for the second half.
///
/// Sums are float32, of the products as by `prenormProduct`, coefficients are computed in Double. A token's numbers
/// depend on that token alone, bit for bit. Streams are read twice, the second time from the cache. Memory beyond the
/// result: the products of `hyperSlab` tokens.
///
/// - Parameters:
///   - streams: x [tokens, n · C], bfloat16 or float32, a token's streams side by side.
///   - norm: the layer's norm; nil for the bare mix.
///   - carried: coefficients whose `pre` mixes the streams instead of this call's own, which the caller then carries to
///     the next call: the original's shifted form. Nil for this call's own.
/// - Throws: `usage` naming the extent that does not fit, `unavailable` without memory.
public func hyperConnectionInput(
    _ streams: FloatRows, connections: HyperConnections, norm: HyperNorm? = nil, format: HyperInputFormat = .bfloat16,
    carried: HyperCoefficients? = nil, on context: ComputeContext
) throws(FathomError) -> HyperConnectionInput {
    let (n, width) = (connections.streamCount, connections.width)
    try requireStreams(streams, streamCount: n, width: width)
    if let norm, norm.weight.count != width {
        throw FathomError(
            .usage, "the norm's weight has \(norm.weight.count) numbers; \(width) is legal, the width of a stream")
    }
    if let carried, carried.tokenCount != streams.rowCount || carried.streamCount != n {
        throw FathomError(
            .usage,
            "carried coefficients of \(carried.tokenCount) tokens and \(carried.streamCount) streams; "
                + "\(streams.rowCount) and \(n) are legal")
    }
    let coefficients = try HyperCoefficients(tokenCount: streams.rowCount, streamCount: n)
    let mixer = HyperMixer(
        streams: streams, connections: connections, norm: norm, coefficients: coefficients,
        mixing: carried ?? coefficients, out: try HyperInputMemory(format, streams.rowCount, width))
    var first = 0
    while first < streams.rowCount {
        let rows = min(hyperSlab, streams.rowCount - first)
        let slab = try FloatRows(
            streams.baseAddress + first * streams.rowStride * streams.element.byteCount, element: streams.element,
            rowCount: rows, columnCount: streams.columnCount, rowStride: streams.rowStride)
        let product = try prenormProduct(slab, connections.projection, splitCount: hyperSplits, on: context)
        context.team.run(taskCount: rows) { row, worker in
            mixer.finish(product, row: row, token: first + row, context.scratch(of: worker))
            mixer.mix(token: first + row, context.kernels, context.scratch(of: worker))
        }
        first += rows
    }
    return HyperConnectionInput(
        tokenCount: streams.rowCount, width: width, values: mixer.out.values, coefficients: coefficients)
}

/// Tokens whose streams are projected and then mixed, so that mixing finds them in a cache.
private let hyperSlab = 96
/// Parts of the projection's sums, always as many, so that one token's work can be shared and bits do not depend on it.
private let hyperSplits = 4

/// - Throws: `usage` unless the rows are as wide as all streams.
func requireStreams(_ streams: FloatRows, streamCount: Int, width: Int) throws(FathomError) {
    guard streams.columnCount == streamCount * width else {
        throw FathomError(
            .usage,
            "streams are \(streams.columnCount) wide; \(streamCount * width) is legal, \(streamCount) of \(width)")
    }
}

/// Where the layer's input goes.
private struct HyperInputMemory {
    let values: HyperConnectionInput.Values
    let powerOfTwoScales: Bool

    init(_ format: HyperInputFormat, _ tokens: Int, _ width: Int) throws(FathomError) {
        let count = try elementCount([tokens, width], of: "the layer's input")
        powerOfTwoScales = format == .float8(powerOfTwoScales: true)
        values =
            switch format {
            case .float32: .float32(try AlignedBuffer(count: count, purpose: "the layer's input"))
            case .bfloat16: .bfloat16(try AlignedBuffer(count: count, purpose: "the layer's input"))
            case .float8:
                .float8(
                    try QuantizedMatrix(
                        format: .float8E4M3, rowCount: tokens, columnCount: width, granularity: .perToken()))
            }
    }

    /// Stores a token's numbers.
    func store(_ line: UnsafePointer<Float>, token: Int, width: Int, _ kernels: KernelTable) {
        switch values {
        case .float32(let out): (out.baseAddress + token * width).update(from: line, count: width)
        case .bfloat16(let out): kernels.roundBFloat16(line, out.baseAddress + token * width, width)
        case .float8(let out):
            var arguments = QuantizeArguments(
                source: UnsafeRawPointer(line), sourceStride: 0, rowCount: 1, columnCount: width,
                blockColumns: min(out.scales.granularity.columns, width), powerOfTwoScales: powerOfTwoScales,
                codes: out.codes.baseAddress + token * out.rowByteCount, codeStride: out.rowByteCount,
                scales: out.scales.values.baseAddress + token * out.scales.columnBlocks)
            kernels.quantizeE4M3Float32(&arguments)
        }
    }
}

/// A token's way from products to the layer's input.
private struct HyperMixer {
    let streams: FloatRows
    let connections: HyperConnections
    let norm: HyperNorm?
    let coefficients: HyperCoefficients
    let mixing: HyperCoefficients
    let out: HyperInputMemory

    /// Coefficients from the sums of a slab's product.
    func finish(_ product: PrenormProduct, row: Int, token: Int, _ scratch: UnsafeMutablePointer<Float>) {
        let count = connections.coefficientCount
        var squares: Float = 0
        for split in 0..<product.splitCount {
            squares += product.squareSums.baseAddress[split * product.rowCount + row]
        }
        let mean = Double(squares) / Double(streams.columnCount)
        let factor = Float(1 / (mean + Double(connections.epsilon)).squareRoot())
        for index in 0..<count {
            var sum: Float = 0
            for split in 0..<product.splitCount {
                sum += product.products.baseAddress[(split * product.rowCount + row) * count + index]
            }
            scratch[index] = sum * factor
        }
        connections.coefficients(scratch, into: coefficients.place(token))
    }

    /// The streams' mix, normalised and stored.
    func mix(token: Int, _ kernels: KernelTable, _ scratch: UnsafeMutablePointer<Float>) {
        let (n, width) = (connections.streamCount, connections.width)
        let line = scratch + n * hyperChunk
        var column = 0
        while column < width {
            let end = min(column + hyperChunk, width)
            streams.decodeStreams(
                token: token, count: n, width: width, columns: column..<end, to: scratch, kernels)
            var product = OuterProductArguments(
                a: UnsafePointer(mixing.place(token)), aStride: n, b: UnsafePointer(scratch), bStride: hyperChunk,
                out: line + column, outStride: 0, rowCount: 1, innerCount: n, columnCount: end - column,
                accumulates: false)
            kernels.outerProduct(&product)
            column = end
        }
        if let norm {
            norm.weight.withUnsafeBufferPointer {
                guard let weight = $0.baseAddress else { return }
                kernels.rmsNorm(line, weight, norm.epsilon, line, width)
            }
        }
        out.store(line, token: token, width: width, kernels)
    }
}
