// SPDX-License-Identifier: MIT

internal import LowPrecision
internal import Platform

/// Low-latency dispatch and combine over all ranks' data in one process: what the protocol has to reproduce, bit for
/// bit.
public struct ReferenceLowLatency: Sendable {
    public let shape: LowLatencyShape
    public let selections: [TopKSelection]
    /// By rank, whether choices of its experts count as none.
    public let isMasked: [Bool]

    /// - Parameter selections: one for each rank; a masked rank's does not matter.
    public init(shape: LowLatencyShape, selections: [TopKSelection], isMasked: [Bool]? = nil) {
        precondition(selections.count == shape.placement.rankCount)
        self.shape = shape
        self.selections = selections
        self.isMasked = isMasked ?? Array(repeating: false, count: selections.count)
    }

    /// A row of an expert's matrix.
    public struct Row: Sendable, Equatable {
        public var sourceRank: Int
        public var sourceToken: Int
        /// The numbers' bytes, and those of their scales.
        public var numbers: [UInt8]
        public var scales: [UInt8]

        public init(sourceRank: Int, sourceToken: Int, numbers: [UInt8], scales: [UInt8]) {
            self.sourceRank = sourceRank
            self.sourceToken = sourceToken
            self.numbers = numbers
            self.scales = scales
        }
    }

    /// The rows of each expert, in order of (source rank, token).
    ///
    /// - Parameter rows: [rank][token][hidden] numbers, each a BF16.
    public func dispatch(_ rows: [[[Float]]]) -> [[Row]] {
        (0..<shape.placement.expertCount).map { expert in
            guard !isMasked[shape.placement.rank(ofExpert: expert)] else { return [] }
            return selections.indices.filter { !isMasked[$0] }.flatMap { source in
                (0..<selections[source].tokenCount)
                    .filter { selections[source].choices(of: $0).contains(Int32(expert)) }
                    .map { token in
                        let (numbers, scales) = outgoing(rows[source][token])
                        return Row(sourceRank: source, sourceToken: token, numbers: numbers, scales: scales)
                    }
            }
        }
    }

    /// A row as it goes out: its bytes, and those of its scales.
    ///
    ///     scale = max(|x|ₘₐₓ, 10⁻⁴) / 448 for 128 neighbours, in UE8M0 rounded up to a power of two
    ///     code  = e4m3(x · (1 / scale))
    public func outgoing(_ row: [Float]) -> (numbers: [UInt8], scales: [UInt8]) {
        guard case .float8E4M3(let kind) = shape.format.element else {
            return (row.flatMap { Self.bytes(BFloat16($0).bitPattern) }, [])
        }
        var codes: [UInt8] = []
        var scales: [UInt8] = []
        for first in stride(from: 0, to: row.count, by: RowFormat.scaleBlock) {
            let block = row[first..<min(first + RowFormat.scaleBlock, row.count)]
            var scale = max(block.map(abs).max() ?? 0, 1e-4) / 448
            if kind == .packedUE8M0 { scale = Float(UE8M0(clampingUp: scale)) }
            codes += block.map { Float8E4M3($0 * (1 / scale)).bitPattern }
            switch kind {
            case .float32: scales += Self.bytes(scale.bitPattern)
            case .packedUE8M0: scales.append(UE8M0(clampingUp: scale).bitPattern)
            }
        }
        while kind == .packedUE8M0, scales.count % 4 > 0 { scales.append(0) }
        return (codes, scales)
    }

    private static func bytes(_ bits: some FixedWidthInteger) -> [UInt8] {
        // SAFETY: the bytes of one integer, copied at once.
        withUnsafeBytes(of: bits.littleEndian) { Array($0) }
    }

    /// The sum of what comes back for each token: weight times row, choices in top-k order, in floats, rounded once.
    ///
    /// - Parameter made: the row that an expert makes of a row of its matrix, each number a BF16.
    /// - Returns: [rank][token][hidden]; zeros for a token that went nowhere, nothing for masked ranks.
    public func combine(_ made: (_ expert: Int, _ sourceRank: Int, _ sourceToken: Int) -> [Float]) -> [[[Float]]] {
        selections.indices.map { source in
            guard !isMasked[source] else { return [] }
            let selection = selections[source]
            return (0..<selection.tokenCount).map { token in
                var sum = [Float](repeating: 0, count: shape.format.hidden)
                for (choice, expert) in selection.choices(of: token).enumerated()
                where expert >= 0 && !isMasked[shape.placement.rank(ofExpert: Int(expert))] {
                    let weight = selection.weights?[token * selection.topK + choice] ?? 1
                    let row = returning(made(Int(expert), source, token))
                    for (index, value) in row.enumerated() { sum[index] += value * weight }
                }
                return sum.map { Float(BFloat16($0)) }
            }
        }
    }

    /// A row as it arrives on the way back.
    private func returning(_ row: [Float]) -> [Float] {
        shape.returnFormat == .logFMT10 ? ReferenceLogFMT10.roundTrip(row) : row
    }
}
