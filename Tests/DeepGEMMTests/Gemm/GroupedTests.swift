// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Tensors
import TestSupport
import Testing

@Suite("Grouped products")
struct GroupedTests {
    typealias Format = MatrixOperand.Format

    static let formats: [(Format, Format)] = [
        (.float32, .float32), (.bfloat16, .bfloat16), (.float8E4M3, .float8E4M3), (.float8E4M3, .float4E2M1),
        (.float4E2M1, .float4E2M1), (.bfloat16, .float16),
    ]

    private func operand(
        _ format: Format, _ rows: Int, _ columns: Int, groups: Int = 1, isB: Bool, order: MatrixOperand.Order = .kMajor,
        seed: UInt64
    ) -> TestOperand {
        TestOperand(
            format, rows: rows, columns: columns, order: order, gap: Int(seed % 2), groups: groups,
            granularity: usualGranularity(format, isB: isB), style: ScaleStyle.allCases[Int(seed % 4)], seed: seed)
    }

    /// Runs the product at every level and compares.
    private func expectReference(
        _ a: TestOperand, _ b: TestOperand, groups: GroupLayout, rows: Int, resultGroups: Int = 1,
        accumulates: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let n = b.operand.rowCount
        for level in InstructionSetLevel.available {
            for format in [MatrixResult.Format.float32, .bfloat16] {
                let context = try ComputeContext(threadCount: 2, level: level)
                let d = TestResult(format, rows: rows, columns: n, groups: resultGroups)
                let c = accumulates ? d.fill(seed: 77) : nil
                let expected = referenceGemm(a.operand, b.operand, groups: groups, adding: c)
                try gemm(a.operand, b.operand, groups: groups, adding: c, into: d.result, on: context)
                d.expect(
                    expected, within: format == .float32 ? 1e-12 : 1e-5, isPoisoned: true, "\(level) \(format)",
                    sourceLocation: sourceLocation)
            }
        }
    }

    @Test("Rows grouped by ids, unaligned, with padding and empty groups", arguments: formats, [false, true])
    func ids(formats: (Format, Format), zeroes: Bool) throws {
        let (n, k, groups) = (33, 300, 5)
        // Group 3 is empty, group 1 comes twice, padding stands in the middle and at the end.
        let runs: [(id: Int32, count: Int)] = [(1, 3), (0, 41), (-1, 2), (2, 1), (1, 35), (-1, 1), (4, 7), (-1, 3)]
        let ids = runs.flatMap { [Int32](repeating: $0.id, count: $0.count) }
        for order in MatrixOperand.Order.allCases {
            let a = operand(formats.0, ids.count, k, isB: false, order: order, seed: 3)
            let b = operand(formats.1, n, k, groups: groups, isB: true, order: order, seed: 4)
            try ids.withUnsafeBufferPointer {
                try expectReference(
                    a, b, groups: .ids($0.baseAddress!, zeroesPadding: zeroes), rows: ids.count)
            }
        }
    }

    @Test("Rows grouped by prefix ends, with and without alignment", arguments: formats, [1, 8, 128])
    func ends(formats: (Format, Format), alignment: Int) throws {
        let (n, k) = (20, 260)
        var ends: [Int32] = []
        var start = 0
        for count in [5, 0, 40, 1, 0, 17] {
            ends.append(Int32(start + count))
            start = (start + count + alignment - 1) / alignment * alignment
        }
        let rows = Int(ends.last!) + 3
        let a = operand(formats.0, rows, k, isB: false, seed: 5)
        let b = operand(formats.1, n, k, groups: ends.count, isB: true, order: .mnMajor, seed: 6)
        try ends.withUnsafeBufferPointer {
            for zeroes in [false, true] {
                try expectReference(
                    a, b, groups: .ends($0.baseAddress!, alignment: alignment, zeroesPadding: zeroes), rows: rows)
            }
        }
    }

    @Test("Masked groups leave the rows beyond their counts alone", arguments: formats)
    func masked(formats: (Format, Format)) throws {
        let (room, n, k) = (40, 21, 270)
        let counts: [Int32] = [0, 40, 1, 33, 7]
        let a = operand(formats.0, room, k, groups: counts.count, isB: false, seed: 7)
        let b = operand(formats.1, n, k, groups: counts.count, isB: true, seed: 8)
        try counts.withUnsafeBufferPointer {
            try expectReference(
                a, b, groups: .masked($0.baseAddress!), rows: room, resultGroups: counts.count)
        }
    }

    @Test("Batches, and their sums", arguments: formats, MatrixOperand.Order.allCases)
    func batches(formats: (Format, Format), order: MatrixOperand.Order) throws {
        for m in [3, 40] {
            let a = operand(formats.0, m, 140, groups: 3, isB: false, order: order, seed: 9)
            let b = operand(formats.1, 19, 140, groups: 3, isB: true, order: order, seed: 10)
            try expectReference(a, b, groups: .batched, rows: m, resultGroups: 3)
            try expectReference(a, b, groups: .summed, rows: m)
        }
    }

    @Test(
        "K groups accumulate into C, empty ones keep it", arguments: formats, GroupLayout.DepthStorage.allCases)
    func depth(formats: (Format, Format), storage: GroupLayout.DepthStorage) throws {
        let counts = [128, 0, 64, 1100, 6, 0]
        let total = counts.reduce(0, +)
        for order in MatrixOperand.Order.allCases where storage == .oneMatrix || order == .kMajor {
            for (index, style) in ScaleStyle.allCases.enumerated() {
                func make(_ format: Format, _ rows: Int, _ seed: UInt64) -> TestOperand {
                    TestOperand(
                        format, rows: rows, columns: total, order: order, gap: storage == .blocks ? 0 : 1,
                        granularity: usualGranularity(format, isB: false), style: style, kGroups: counts,
                        storage: storage, seed: seed)
                }
                let a = make(formats.0, index % 2 == 0 ? 36 : 5, 11)
                let b = make(formats.1, 19, 12)
                try counts.map { Int32($0) }.withUnsafeBufferPointer {
                    try expectReference(
                        a, b, groups: .depth($0.baseAddress!, groups: counts.count, storage: storage),
                        rows: a.operand.rowCount, resultGroups: counts.count, accumulates: true)
                }
            }
        }
    }

    @Test("Every einsum is the sum that its letters say", arguments: EinsumForm.allCases, [Format.bfloat16, .float32])
    func einsums(form: EinsumForm, format: Format) throws {
        let sizes: [Character: Int] = ["b": 5, "h": 3, "d": 34, "r": 70, "m": 33, "n": 18, "k": 90]
        let letters: [[Character]] = form.rawValue.split { ",->".contains($0) }.map { Array($0) }
        let extents = letters.map { $0.map { sizes[$0]! } }
        let x = TestOperand(format, rows: extents[0][1], columns: extents[0][2], groups: extents[0][0], seed: 1)
        let y = TestOperand(format, rows: extents[1][1], columns: extents[1][2], groups: extents[1][0], seed: 2)
        // [first][second][third], as rounded.
        let left = (0..<extents[0][0]).map { x.operand.referenceMatrix(group: $0) }
        let right = (0..<extents[1][0]).map { y.operand.referenceMatrix(group: $0) }
        let out = extents[2].count == 2 ? [1] + extents[2] : extents[2]
        var expected = [Double](repeating: 0, count: out.reduce(1, *))
        let all = Array(Set(letters[0] + letters[1]))
        var index = [Character: Int]()
        func sum(_ depth: Int) {
            guard depth < all.count else {
                func at(_ name: [Character]) -> [Int] { name.map { index[$0]! } }
                let (p, q) = (at(letters[0]), at(letters[1]))
                let place = zip(letters[2], extents[2]).reduce(0) { $0 * $1.1 + index[$1.0]! }
                expected[place] += left[p[0]][p[1]][p[2]] * right[q[0]][q[1]][q[2]]
                return
            }
            for value in 0..<sizes[all[depth]]! {
                index[all[depth]] = value
                sum(depth + 1)
            }
        }
        sum(0)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let d = GuardedBuffer(poisoned: expected.count)
            let isHeadFirst = form == .weightGradient
            let result = MatrixResult(
                d.start, stride: isHeadFirst || form == .sumOfProducts ? out[2] : out[1] * out[2],
                groupStride: isHeadFirst ? out[1] * out[2] : out[2])
            try einsum(
                EinsumForm(form.rawValue), EinsumOperand(x.operand.baseAddress, format, extents: extents[0]),
                EinsumOperand(y.operand.baseAddress, format, extents: extents[1]), into: result, on: context)
            #expect(calcDiff(d.values, expected.map { Float($0) }) < 1e-12)
            #expect(d.isIntact)
        }
    }
}
