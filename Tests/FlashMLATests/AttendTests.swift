// SPDX-License-Identifier: MIT

import FlashMLA
import KernelDispatch
import Platform
import Tensors
import TestSupport
import Testing

/// Heads and widths of one test.
struct AttentionWidths: Sendable, CustomStringConvertible {
    var heads: Int
    var rowWidth: Int
    var valueWidth: Int

    var description: String { "\(heads) heads, \(rowWidth) wide, values \(valueWidth)" }

    static let all = [
        AttentionWidths(heads: 1, rowWidth: 80, valueWidth: 64),
        AttentionWidths(heads: 3, rowWidth: 13, valueWidth: 7),
        AttentionWidths(heads: 4, rowWidth: 36, valueWidth: 33),
        AttentionWidths(heads: 16, rowWidth: 80, valueWidth: 64),
        AttentionWidths(heads: 128, rowWidth: 20, valueWidth: 16),
        AttentionWidths(heads: 1, rowWidth: 1, valueWidth: 1),
    ]
}

@Suite("Attention")
struct AttendTests {
    /// Lengths at and around blocks and partitions, one token and several.
    private static let extents: [AttentionCase.Extent] = [
        .init(firstPosition: 0, tokenCount: 1), .init(firstPosition: 62, tokenCount: 5),
        .init(firstPosition: 511, tokenCount: 1), .init(firstPosition: 505, tokenCount: 12),
        .init(firstPosition: 0, tokenCount: 9), .init(firstPosition: 1199, tokenCount: 1),
    ]

    private func expectReference(
        _ test: AttentionCase, threads: Int, level: InstructionSetLevel, tokens limit: Int = .max
    ) throws {
        let context = try ComputeContext(threadCount: threads, level: level)
        let found = try #require(try test.attend(on: context))
        let width = test.shape.headCount * test.shape.valueWidth
        for (request, values) in found.enumerated() {
            for token in 0..<min(test.extents[request].tokenCount, limit) {
                let mine = Array(values[token * width..<(token + 1) * width])
                let expected = test.reference(request, token: token)
                let difference = calcDiff(mine, expected)
                let worst = firstDifference(mine, expected, tolerance: 2e-5)
                #expect(
                    difference < 1e-10 && worst == nil,
                    "\(level), \(test.extents[request]), token \(token): \(difference), \(worst as Any)"
                )
            }
        }
    }

    @Test(
        "bfloat16 queries agree with the definition on every level, whether pairs serve or floats",
        arguments: [AttentionWidths(heads: 16, rowWidth: 576, valueWidth: 512), AttentionWidths.all[1]],
        InstructionSetLevel.available)
    func bfloat16Queries(widths: AttentionWidths, level: InstructionSetLevel) throws {
        var test = AttentionCase(
            Self.extents, heads: widths.heads, rowWidth: widths.rowWidth, valueWidth: widths.valueWidth,
            format: .bfloat16, seed: 7)
        test.roundQueries()
        let context = try ComputeContext(threadCount: 2, level: level)
        let found = try #require(try test.attend(.bfloat16, on: context))
        for (request, values) in found.enumerated() {
            let expected = (0..<test.extents[request].tokenCount).flatMap { test.reference(request, token: $0) }
            let difference = calcDiff(values, expected)
            #expect(difference < 7e-6, "\(level), \(test.extents[request]): \(difference)")
        }
    }

    @Test(
        "Mixed requests agree with the definition, and unused rows are not read",
        arguments: AttentionWidths.all,
        LatentCacheLayer.Format.allCases)
    func reference(widths: AttentionWidths, format: LatentCacheLayer.Format) throws {
        let extents = widths.heads == 128 ? Array(Self.extents[..<4]) : Self.extents
        let test = AttentionCase(
            extents, heads: widths.heads, rowWidth: widths.rowWidth, valueWidth: widths.valueWidth,
            format: format,
            seed: 40)
        for level in InstructionSetLevel.available {
            try expectReference(test, threads: 2, level: level, tokens: 3)
        }
    }

    @Test("DeepSeek's own widths agree with the definition", arguments: LatentCacheLayer.Format.allCases)
    func release(format: LatentCacheLayer.Format) throws {
        let test = AttentionCase(
            [.init(firstPosition: 70, tokenCount: 2), .init(firstPosition: 9, tokenCount: 1)], heads: 3,
            rowWidth: 576, valueWidth: 512, format: format, seed: 41)
        for level in InstructionSetLevel.available { try expectReference(test, threads: 2, level: level) }
    }

    @Test("One long sequence, split over threads, agrees with the definition", arguments: [1, 2, 5])
    func split(threads: Int) throws {
        let test = AttentionCase(
            [.init(firstPosition: 1500, tokenCount: 1)], heads: 4, rowWidth: 24, valueWidth: 16,
            format: .bfloat16,
            seed: 42)
        for level in InstructionSetLevel.available {
            try expectReference(test, threads: threads, level: level)
        }
    }

    @Test("Very large and very different scores neither overflow nor vanish")
    func extremes() throws {
        let test = AttentionCase(
            [.init(firstPosition: 700, tokenCount: 2)], heads: 2, rowWidth: 16, valueWidth: 12,
            format: .float32,
            seed: 43)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            var scaled = test
            scaled = AttentionCase(scaling: scaled, by: 3000)
            let found = try #require(try scaled.attend(on: context))
            for token in 0..<2 {
                let mine = Array(found[0][token * 24..<(token + 1) * 24])
                #expect(calcDiff(mine, scaled.reference(0, token: token)) < 1e-5)
            }
        }
    }

    @Test("No requests are no work")
    func empty() throws {
        let test = AttentionCase(
            [.init(firstPosition: 3, tokenCount: 1)], heads: 2, rowWidth: 16, valueWidth: 12,
            format: .float32, seed: 1)
        #expect(try test.attend([], on: try ComputeContext(threadCount: 2)) == [])
    }
}

extension AttentionCase {
    /// The same with every query multiplied by `factor`.
    init(scaling other: AttentionCase, by factor: Float) {
        self = other
        queries = other.queries.map { $0.map { $0 * factor } }
    }
}
