// SPDX-License-Identifier: MIT

internal import KernelDispatch

// SAFETY: In this file pointers are to rows and slots that the caller has counted, and to a workspace that was laid out
// for them.

/// Both products of some experts, for rows that lie expert after expert.
///
/// Rows are taken in waves of whole experts where they fit, so that what lies between the products is bounded and still
/// in a cache when it is read. A row's bits do not depend on the wave.
struct MegaMoEPass {
    /// Rows of a wave at most: about as many as the driver packs at a time.
    static let waveRows = 2048

    /// What rows are taken from.
    var x: MatrixOperand
    /// The place in `x` of each row; nil where `x` holds the rows of one wave in turn.
    var sources: UnsafePointer<Int64>?
    /// What each row's unit is multiplied with.
    var rowWeights: UnsafePointer<Float>
    /// Where each row of the result goes, bfloat16 numbers.
    var places: UnsafePointer<UnsafeMutableRawPointer>
    /// Where the rows of each expert begin, and behind them all rows: the experts of all `weights` in turn.
    var starts: [Int]
    var weights: [MegaMoEWeights]
    var unit: ExpertUnit
    var between: MegaMoEBetween

    /// Runs of rows that are computed together: as many experts as fit, and of one that does not some of its rows.
    static func waves(of starts: [Int]) -> [Range<Int>] {
        var waves: [Range<Int>] = []
        var first = 0
        for (start, end) in zip(starts, starts.dropFirst()) where end > start {
            if end - first > waveRows, start > first {
                waves.append(first..<start)
                first = start
            }
            while end - first > waveRows {
                waves.append(first..<first + waveRows)
                first += waveRows
            }
        }
        if let end = starts.last, end > first { waves.append(first..<end) }
        return waves
    }

    /// Computes a wave.
    func run(_ wave: Range<Int>, on context: ComputeContext) {
        var first: [GemmProblem] = []
        var second: [GemmProblem] = []
        var expert = 0
        for matrices in weights {
            for group in 0..<matrices.expertCount {
                let rows =
                    max(
                        starts[expert], wave.lowerBound)..<max(
                        max(starts[expert], wave.lowerBound), min(starts[expert + 1], wave.upperBound))
                expert += 1
                guard !rows.isEmpty else { continue }
                first.append(gateUp(rows, wave, matrices, group))
                second.append(down(rows, wave, matrices, group))
            }
        }
        var epilogue = Epilogue(gate: true)
        epilogue.unit = unit
        GemmDriver(first, epilogue: epilogue, for: context).run(on: context)
        GemmDriver(second, for: context).run(on: context)
    }

    private func gateUp(
        _ rows: Range<Int>, _ wave: Range<Int>, _ matrices: MegaMoEWeights, _ group: Int
    ) -> GemmProblem {
        var a = OperandSlice(x)
        a.indices = sources
        a.firstRow = sources == nil ? rows.lowerBound - wave.lowerBound : rows.lowerBound
        var problem = GemmProblem(
            a: a, b: OperandSlice(matrices.gateUp, group: group), rowCount: rows.count,
            outputs: 0..<matrices.gateUp.rowCount, depth: matrices.hidden,
            d: ResultSlice(between.result, firstRow: rows.lowerBound - wave.lowerBound))
        problem.rowWeights = rowWeights + rows.lowerBound
        return problem
    }

    private func down(
        _ rows: Range<Int>, _ wave: Range<Int>, _ matrices: MegaMoEWeights, _ group: Int
    ) -> GemmProblem {
        var a = OperandSlice(between.operand)
        a.firstRow = rows.lowerBound - wave.lowerBound
        var d = ResultSlice(MatrixResult(between.base, .bfloat16, stride: matrices.hidden))
        d.places = places + rows.lowerBound
        return GemmProblem(
            a: a, b: OperandSlice(matrices.down, group: group), rowCount: rows.count, outputs: 0..<matrices.hidden,
            depth: matrices.intermediate, d: d)
    }
}

/// The rows between the two products, of one wave.
struct MegaMoEBetween {
    /// Columns that share a scale.
    static let blockColumns = 32

    var base: UnsafeMutableRawPointer
    var form: MegaMoEOptions.Intermediate
    var rowCount: Int
    var columnCount: Int

    private var scaleCount: Int { ceilDivide(columnCount, Self.blockColumns) }
    private var scales: UnsafeMutableRawPointer { base + rowCount * columnCount }

    /// Bytes of a row with its scales.
    static func rowBytes(_ form: MegaMoEOptions.Intermediate, columnCount: Int) -> Int {
        form == .bfloat16 ? 2 * columnCount : columnCount + ceilDivide(columnCount, blockColumns)
    }

    /// As D of the first product.
    var result: MatrixResult {
        guard form == .float8E4M3 else { return MatrixResult(base, .bfloat16, stride: columnCount) }
        return MatrixResult(
            base, .float8E4M3, stride: columnCount,
            scales: ResultScales(scales, .ue8m0, rowStride: scaleCount, blockColumns: Self.blockColumns))
    }

    /// As A of the second one.
    var operand: MatrixOperand {
        guard form == .float8E4M3 else {
            return MatrixOperand(UnsafeRawPointer(base), .bfloat16, rowCount: rowCount, columnCount: columnCount)
        }
        return MatrixOperand(
            UnsafeRawPointer(base), .float8E4M3, rowCount: rowCount, columnCount: columnCount,
            scales: BlockScales(
                UnsafeRawPointer(scales), encoding: .ue8m0, granularity: .perToken(Self.blockColumns),
                rowStride: scaleCount, blockStride: 1))
    }
}
