// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

/// One broken rule: what is changed in a call that is right, and the words that the error must have.
struct Misuse: Sendable, CustomStringConvertible {
    var description: String
    var words: [String]
    var breaks: @Sendable (inout Arguments) -> Void

    /// A legal call of `gemm`: A [4, 16], B [6, 16], D [4, 6].
    struct Arguments {
        var a: MatrixOperand
        var b: MatrixOperand
        var c: MatrixAddend?
        var d: MatrixResult
        var epilogue = Epilogue()
        var groups: GroupLayout?
    }

    init(_ description: String, _ words: [String], _ breaks: @escaping @Sendable (inout Arguments) -> Void) {
        self.description = description
        self.words = words
        self.breaks = breaks
    }

    static func scaled(
        _ rows: Int, _ columns: Int, rowStride: Int = 4, blockStride: Int = 1
    ) -> @Sendable (inout Arguments) -> Void {
        {
            $0.a.scales = BlockScales(
                $0.b.baseAddress, encoding: .float32, granularity: ScaleGranularity(rows: rows, columns: columns),
                rowStride: rowStride, blockStride: blockStride)
        }
    }

    static let all: [Misuse] = [
        Misuse("negative rows", ["A", "-1 rows", "0…"]) { $0.a.rowCount = -1 },
        Misuse("negative columns", ["B", "-3 columns"]) { $0.b.columnCount = -3 },
        Misuse("absurd rows", ["A", "rows", "1099511627776"]) { $0.a.rowCount = 1 << 41 },
        Misuse("a span beyond memory", ["A", "memory"]) {
            $0.a.stride = 1 << 40; $0.a.rowCount = 1 << 20
        },
        Misuse("different K", ["16", "15", "equal"]) { $0.b.columnCount = 15 },
        Misuse("short stride of A", ["A", "k-major", "15", "16…"]) { $0.a.stride = 15 },
        Misuse("short stride of an MN-major B", ["B", "mn-major", "5", "6…"]) {
            $0.b.order = .mnMajor
            $0.b.stride = 5
        },
        Misuse("odd stride of FP4", ["A", "17", "even"]) {
            $0.a.format = .float4E2M1
            $0.a.stride = 17
        },
        Misuse("odd group stride of FP4", ["B", "group stride of 97", "even"]) {
            $0.b.format = .float4E2M1
            $0.b.groupStride = 97
        },
        Misuse("scales of no rows", ["A's scales", "0 rows", "1 or more"], scaled(0, 8)),
        Misuse("scales of 12 columns", ["A's scales", "12", "multiple of 8"], scaled(1, 12)),
        Misuse("negative scale stride", ["A's scales", "-4"], scaled(1, 8, rowStride: -4)),
        Misuse("two matrices in an ordinary product", ["A holds 2", "takes 1"]) { $0.a.groupCount = 2 },
        Misuse("short stride of D", ["D", "5", "6…"]) { $0.d.stride = 5 },
        Misuse("misaligned D", ["D lies at", "multiple of 4"]) {
            $0.d.baseAddress += 2
        },
        Misuse("misaligned bias", ["bias", "multiple of 4"]) {
            $0.epilogue.bias = UnsafeRawPointer(bitPattern: 0x1002)!.assumingMemoryBound(to: Float.self)
        },
        Misuse("FP8 without scales", ["D is fp8 without scales"]) { $0.d.format = .float8E4M3 },
        Misuse("scales without FP8", ["D is fp32 with scales"]) {
            $0.d.scales = ResultScales($0.d.baseAddress, .float32, rowStride: 1)
        },
        Misuse("overlapping scales of D", ["D's scales", "overlap"]) {
            $0.d.format = .float8E4M3
            $0.d.scales = ResultScales($0.d.baseAddress + 4096, .float32, rowStride: 0)
        },
        Misuse("misaligned scales of D", ["D's scales", "multiple of 4"]) {
            $0.d.format = .float8E4M3
            $0.d.scales = ResultScales($0.d.baseAddress + 4097, .float32, rowStride: 1)
        },
        Misuse("odd rows of B with a gate", ["B has 5 rows", "even"]) {
            $0.b.rowCount = 5
            $0.epilogue.gate = true
        },
        Misuse("C with a gate", ["C is given with a gate"]) {
            $0.epilogue.gate = true
            $0.c = MatrixAddend(accumulatingInto: $0.d)
        },
        Misuse("heads that do not divide N", ["6 columns", "3 + 1", "whole"]) {
            $0.epilogue.heads = HeadSplit(left: 3, mid: 2, right: 1)
        },
        Misuse("a negative gap", ["head split", "-2"]) {
            $0.epilogue.heads = HeadSplit(left: 3, mid: -2, right: 3)
        },
        Misuse("FP8 with split heads", ["fp8", "split heads"]) {
            $0.epilogue.heads = HeadSplit(left: 3, mid: 2, right: 3)
            $0.d.stride = 8
            $0.d.format = .float8E4M3
            $0.d.scales = ResultScales($0.d.baseAddress + 4096, .float32, rowStride: 1)
        },
        Misuse("D over A", ["D overlaps A"]) {
            $0.d.baseAddress = UnsafeMutableRawPointer(mutating: $0.a.baseAddress + 8)
        },
        Misuse("D over B", ["D overlaps B"]) {
            $0.d.baseAddress = UnsafeMutableRawPointer(mutating: $0.b.baseAddress)
        },
        Misuse("C beside D but not D", ["C overlaps D", "D itself"]) {
            $0.c = MatrixAddend(UnsafeRawPointer($0.d.baseAddress + 4), .float32, stride: 6)
        },
        Misuse("C of another format in D's place", ["C overlaps D"]) {
            $0.c = MatrixAddend(UnsafeRawPointer($0.d.baseAddress), .bfloat16, stride: 6)
        },
        Misuse("misaligned C", ["C lies at", "multiple of 4"]) {
            $0.c = MatrixAddend(UnsafeRawPointer($0.d.baseAddress + 2050), .float32, stride: 6)
        },
        Misuse("short stride of C", ["C has a stride of 5", "6…"]) {
            $0.c = MatrixAddend(UnsafeRawPointer($0.d.baseAddress + 2048), .float32, stride: 5)
        },
        Misuse("overlapping matrices of D", ["D has 2 matrices", "overlap"]) {
            $0.a.groupCount = 2
            $0.b.groupCount = 2
            $0.groups = .batched
            $0.d.groupStride = 20
        },
        Misuse("batches of different number", ["A holds 2", "B 1", "equally"]) {
            $0.a.groupCount = 2
            $0.groups = .batched
        },
    ]
}

@Suite("Misuse of products")
struct GemmMisuseTests {
    private func withArguments(
        groups: Int = 1, _ body: (Misuse.Arguments) -> Void
    ) {
        let memory = GuardedBuffer<UInt8>(count: 16384, repeating: 0)
        let start = UnsafeMutableRawPointer(memory.start)
        let arguments = Misuse.Arguments(
            a: MatrixOperand(start, .float32, rowCount: 4, columnCount: 16),
            b: MatrixOperand(start + 1024, .float32, rowCount: 6, columnCount: 16, groupCount: groups),
            d: MatrixResult(start + 8192, .float32, stride: 6, groupStride: 24))
        withExtendedLifetime(memory) { body(arguments) }
    }

    @Test("Every broken rule is named, with what was given", arguments: Misuse.all)
    func rules(misuse: Misuse) throws {
        let context = try ComputeContext(threadCount: 1)
        withArguments { legal in
            var arguments = legal
            misuse.breaks(&arguments)
            let a = arguments
            expectFailure(.usage, naming: misuse.words) { () throws(FathomError) in
                if let groups = a.groups {
                    try gemm(a.a, a.b, groups: groups, adding: a.c, into: a.d, epilogue: a.epilogue, on: context)
                } else {
                    try gemm(a.a, a.b, adding: a.c, into: a.d, epilogue: a.epilogue, on: context)
                }
            }
        }
    }

    @Test("The call that they are broken in is right")
    func legal() throws {
        let context = try ComputeContext(threadCount: 1)
        var failure: (any Error)?
        withArguments { a in
            do { try gemm(a.a, a.b, into: a.d, on: context) } catch { failure = error }
        }
        #expect(failure == nil)
    }

    /// Expects an error from a grouped product with these numbers, which the layout is made of.
    private func expectGroupFailure(
        _ numbers: [Int32], _ words: [String], groups: Int = 2, change: (inout Misuse.Arguments) -> Void = { _ in },
        _ layout: (UnsafePointer<Int32>) -> GroupLayout, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let context = try ComputeContext(threadCount: 1)
        withArguments(groups: groups) { legal in
            var arguments = legal
            change(&arguments)
            let a = arguments
            numbers.withUnsafeBufferPointer { buffer in
                let layout = layout(buffer.baseAddress!)
                expectFailure(.usage, naming: words, sourceLocation: sourceLocation) { () throws(FathomError) in
                    try gemm(a.a, a.b, groups: layout, into: a.d, on: context)
                }
            }
        }
    }

    @Test("Group ids, ends, counts and depths outside their ranges are named")
    func groups() throws {
        try expectGroupFailure([0, 2, 0, 0], ["row 1", "id 2", "0…1"]) { .ids($0) }
        try expectGroupFailure([0, 1, -2, 0], ["row 2", "id -2", "−1"]) { .ids($0) }
        try expectGroupFailure([3, 2], ["group 1", "row 2", "3…4"]) { .ends($0) }
        try expectGroupFailure([2, 5], ["group 1", "row 5", "2…4"]) { .ends($0) }
        try expectGroupFailure([1, 2], ["group 1", "begins at 3"]) { .ends($0, alignment: 3) }
        try expectGroupFailure([-1, 2], ["group 0", "row -1"]) { .ends($0) }
        try expectGroupFailure([2, 4], ["alignment of 0"]) { .ends($0, alignment: 0) }
        try expectGroupFailure([2, 4], ["A holds 2 matrices"], change: { $0.a.groupCount = 2 }) { .ids($0) }
        let pair: (inout Misuse.Arguments) -> Void = { $0.a.groupCount = 2 }
        try expectGroupFailure([4, 5], ["group 1", "5 rows", "0…4"], change: pair) { .masked($0) }
        try expectGroupFailure([-1, 0], ["group 0", "-1 rows"], change: pair) { .masked($0) }
        try expectGroupFailure([1, 1], ["A holds 1", "B 2"]) { .masked($0) }
    }

    @Test("K groups that do not make up K are named")
    func depths() throws {
        try expectGroupFailure([8, 9], ["group 1", "9 elements", "0…8"], groups: 1) { .depth($0, groups: 2) }
        try expectGroupFailure([8, -1], ["group 1", "-1"], groups: 1) { .depth($0, groups: 2) }
        try expectGroupFailure([8, 7], ["15", "16"], groups: 1) { .depth($0, groups: 2) }
        try expectGroupFailure([8, 8], ["-1 groups"], groups: 1) { .depth($0, groups: -1) }
        try expectGroupFailure([8, 8], ["B holds 2"], groups: 2) { .depth($0, groups: 2) }
        try expectGroupFailure([7, 9], ["group 0", "A", "even"], groups: 1, change: { $0.a.format = .float4E2M1 }) {
            .depth($0, groups: 2)
        }
        try expectGroupFailure(
            [7, 9], ["B", "FP4 in blocks", "even"], groups: 1, change: { $0.b.format = .float4E2M1 }
        ) {
            .depth($0, groups: 2, storage: .blocks)
        }
        let transposed: (inout Misuse.Arguments) -> Void = {
            $0.b.order = .mnMajor
            $0.b.stride = 6
        }
        try expectGroupFailure([8, 8], ["B is MN-major", "blocks"], groups: 1, change: transposed) {
            .depth($0, groups: 2, storage: .blocks)
        }
    }

    @Test("An einsum that does not exist is answered with those that do")
    func einsums() throws {
        expectFailure(.usage, naming: ["ij,jk->ik"] + EinsumForm.allCases.map(\.rawValue)) { () throws(FathomError) in
            _ = try EinsumForm("ij,jk->ik")
        }
        let context = try ComputeContext(threadCount: 1)
        withArguments { a in
            func fail(_ x: [Int], _ y: [Int], _ words: [String]) {
                expectFailure(.usage, naming: words) { () throws(FathomError) in
                    try einsum(
                        .latentToHead, EinsumOperand(a.a.baseAddress, .float32, extents: x),
                        EinsumOperand(a.b.baseAddress, .float32, extents: y), into: a.d, on: context)
                }
            }
            fail([2, 2, 4], [3, 2, 4], ["h of", "2", "3"])
            fail([2, 2, 4], [2, 2, 5], ["r of", "4", "5"])
            fail([2, 4], [2, 2, 4], ["x of", "2 extents"])
        }
    }
}
