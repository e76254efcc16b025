// SPDX-License-Identifier: MIT

internal import LowPrecision
internal import Platform

// SAFETY: In this file numbers are read from operands that the caller vouches for. For tests.

/// What a product makes, in Double: `[group][row][column]` of D, nil where D keeps what it holds (gaps, padding).
public typealias ReferenceProduct = [[[Double?]]]

/// D = epilogue(A·Bᵀ + C) as a definition, for every operand, layout and epilogue that `gemm` takes: numbers decoded by
/// `LowPrecision`'s rules, every sum and function in Double. FP8 results are given before they are quantised.
///
/// The arguments must be ones that `gemm` accepts.
public func referenceGemm(
    _ a: MatrixOperand, _ b: MatrixOperand, groups: GroupLayout? = nil, adding c: MatrixAddend? = nil,
    epilogue: Epilogue = Epilogue()
) -> ReferenceProduct {
    let x = (0..<a.groupCount).map { a.referenceMatrix(group: $0) }
    let y = (0..<b.groupCount).map { b.referenceMatrix(group: $0) }
    let untouched = [Double?](repeating: nil, count: epilogue.resultColumns(outputs: b.rowCount))
    let zeros = [Double](repeating: 0, count: epilogue.columnCount(outputs: b.rowCount))
    let cleared = Epilogue(heads: epilogue.heads).reference(zeros) { _ in 0 }

    /// Row m of D[group], given the row of A that is multiplied with the rows of a matrix of B.
    func row(_ left: [Double], _ right: [[Double]], group: Int = 0, m: Int) -> [Double?] {
        epilogue.reference(right.map { dot(left, $0) }) { c?.referenceValue(group: group, row: m, column: $0) ?? 0 }
    }

    switch groups {
    case nil: return [(0..<a.rowCount).map { row(x[0][$0], y[0], m: $0) }]
    case .ids(let ids, let zeroes):
        return [
            (0..<a.rowCount).map { m in
                ids[m] >= 0 ? row(x[0][m], y[Int(ids[m])], m: m) : zeroes ? cleared : untouched
            }
        ]
    case .ends(let ends, let alignment, let zeroes):
        var matrix = [[Double?]](repeating: zeroes ? cleared : untouched, count: a.rowCount)
        var start = 0
        for group in 0..<b.groupCount {
            for m in start..<max(start, Int(ends[group])) { matrix[m] = row(x[0][m], y[group], m: m) }
            start = min((Int(ends[group]) + alignment - 1) / alignment * alignment, a.rowCount)
        }
        return [matrix]
    case .masked(let counts):
        return (0..<a.groupCount).map { g in
            (0..<a.rowCount).map { $0 < counts[g] ? row(x[g][$0], y[g], group: g, m: $0) : untouched }
        }
    case .batched:
        return (0..<a.groupCount).map { g in (0..<a.rowCount).map { row(x[g][$0], y[g], group: g, m: $0) } }
    case .summed:
        // The sum over the groups is a sum over a longer K.
        let right = (0..<b.rowCount).map { n in y.flatMap { $0[n] } }
        return [(0..<a.rowCount).map { m in row(x.flatMap { $0[m] }, right, m: m) }]
    case .depth(let counts, let groups, let storage):
        let counts = (0..<groups).map { Int(counts[$0]) }
        return counts.indices.map { g in
            let left = a.referencePart(group: g, counts, storage)
            let right = b.referencePart(group: g, counts, storage)
            return (0..<a.rowCount).map { row(left[$0], right, group: g, m: $0) }
        }
    }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for k in a.indices { sum += a[k] * b[k] }
    return sum
}

extension MatrixOperand {
    /// The numbers [rowCount, columnCount] of one matrix, exactly: codes times scales.
    public func referenceMatrix(group: Int = 0) -> [[Double]] {
        (0..<rowCount).map { row in (0..<columnCount).map { referenceValue(group: group, row: row, k: $0) } }
    }

    /// The numbers [rowCount, counts[group]] of one group of K.
    fileprivate func referencePart(
        group: Int, _ counts: [Int], _ storage: GroupLayout.DepthStorage
    ) -> [[Double]] {
        let start = counts[..<group].reduce(0, +)
        let width = scales?.granularity.columns ?? 1
        // Each group begins with a block of scales of its own, packed ones with a word.
        let unit = scales?.encoding == .packedUE8M0 ? 4 : 1
        let firstBlock = counts[..<group].reduce(0) { $0 + ((($1 + width - 1) / width) + unit - 1) / unit * unit }
        return (0..<rowCount).map { row in
            (0..<counts[group]).map { k in
                let index: Int
                switch (storage, order) {
                case (.blocks, _): index = start * rowCount + row * counts[group] + k
                case (.oneMatrix, .kMajor): index = row * stride + start + k
                case (.oneMatrix, .mnMajor): index = (start + k) * stride + row
                }
                guard let scales else { return decoded(index) }
                return decoded(index)
                    * scales.referenceValue(
                        group: 0, rowBlock: row / scales.granularity.rows, block: firstBlock + k / width)
            }
        }
    }

    /// One number, exactly: its code times its scale.
    private func referenceValue(group: Int, row: Int, k: Int) -> Double {
        let row = gathered.map { Int($0.indices[row]) } ?? row
        let (inner, outer) = order == .kMajor ? (k, row) : (row, k)
        let value = decoded(group * groupStride + outer * stride + inner)
        guard let scales else { return value }
        return value
            * scales.referenceValue(
                group: group, rowBlock: row / scales.granularity.rows, block: k / scales.granularity.columns)
    }

    /// The number at an index counted in elements from the first.
    private func decoded(_ index: Int) -> Double {
        let byte = baseAddress + index * format.bitCount / 8
        switch format {
        case .float32: return Double(byte.loadUnaligned(as: Float.self))
        case .bfloat16: return Double(Float(BFloat16(bitPattern: byte.loadUnaligned(as: UInt16.self))))
        case .float16: return Double(Float(float16Bits: byte.loadUnaligned(as: UInt16.self)))
        case .float8E4M3: return Double(Float(Float8E4M3(bitPattern: byte.loadUnaligned(as: UInt8.self))))
        case .float4E2M1:
            let pair = Float4E2M1.unpack(byte.loadUnaligned(as: UInt8.self))
            return Double(Float(index % 2 == 0 ? pair.even : pair.odd))
        }
    }
}

extension BlockScales {
    fileprivate func referenceValue(group: Int, rowBlock: Int, block: Int) -> Double {
        let row = group * groupStride + rowBlock * rowStride
        switch encoding {
        case .float32:
            return Double((baseAddress + (row + block * blockStride) * 4).loadUnaligned(as: Float.self))
        case .ue8m0:
            let byte = (baseAddress + row + block * blockStride).loadUnaligned(as: UInt8.self)
            return Double(Float(UE8M0(bitPattern: byte)))
        case .packedUE8M0:
            let word = (baseAddress + (row + block / 4 * blockStride) * 4).loadUnaligned(as: Int32.self)
            return Double(Float(UE8M0(word: word, index: block % 4)))
        }
    }
}

extension MatrixAddend {
    fileprivate func referenceValue(group: Int, row: Int, column: Int) -> Double {
        let index = group * groupStride + row * stride + column
        switch format {
        case .float32: return Double((baseAddress + index * 4).loadUnaligned(as: Float.self))
        case .bfloat16:
            return Double(Float(BFloat16(bitPattern: (baseAddress + index * 2).loadUnaligned(as: UInt16.self))))
        }
    }
}

extension Epilogue {
    /// The row of D that sums of products make; `addend` gives C's number in a column of D.
    fileprivate func reference(_ sums: [Double], addend: (Int) -> Double) -> [Double?] {
        var z = sums.indices.map { n in Double(alpha) * sums[n] + (bias.map { Double($0[n]) } ?? 0) }
        if gate {
            let half = z.count / 2
            z = (0..<half).map { z[$0] / (1 + exponential(-z[$0])) * z[half + $0] }
        }
        guard let heads else { return z.indices.map { z[$0] + (gate ? 0 : addend($0)) } }
        let width = heads.left + heads.right
        var row = [Double?](repeating: nil, count: z.count / width * (width + heads.mid))
        for n in z.indices {
            let gap = n % width < heads.left ? 0 : heads.mid
            let column = n / width * (width + heads.mid) + n % width + gap
            row[column] = z[n] + (gate ? 0 : addend(column))
        }
        return row
    }
}

/// eˣ in Double: 2ⁿ · eʳ with |r| ≤ ln 2 / 2 and the series of eʳ.
func exponential(_ x: Double) -> Double {
    guard x.magnitude < 700 else { return x > 0 ? .infinity : 0 }
    let n = (x * 1.4426950408889634).rounded()
    let r = x - n * 0.6931471805599453 - n * 2.319046813846e-17
    var term = 1.0
    var sum = 1.0
    for step in 1...20 {
        term *= r / Double(step)
        sum += term
    }
    return sum * Double(sign: .plus, exponent: Int(n), significand: 1)
}
