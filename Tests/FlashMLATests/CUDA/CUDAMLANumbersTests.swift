// SPDX-License-Identifier: MIT

import FlashMLA
import LowPrecision
import Tensors
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// What `mla.cu` computes, in its order and with its roundings, for one row: pairs of pages whose weights two
/// warpgroups make and exchange, in base 2, then the pieces of cut requests added up.
private struct KernelArithmetic {
    var scale: Float

    struct Piece {
        var out: [Float]
        var logSum: Float
    }

    /// One stretch of pages: `visible` keys of `keys` [tokens][576] count.
    func piece(_ query: [Float], _ keys: [[Float]], pages: Range<Int>, visible: Int) -> Piece {
        let valueWidth = 512
        var left = [Float](repeating: 0, count: valueWidth / 2)
        var right = left
        var maximum: Float = -1e30
        var firstSum: Float = 0
        var secondSum: Float = 0
        func scores(_ page: Int) -> [Float] {
            (0..<64).map { row in
                let key = page * 64 + row
                guard key < visible, key < keys.count else { return -1e33 }
                return zip(query, keys[key]).reduce(Float(0)) { $0 + $1.0 * $1.1 } * scale
            }
        }
        func add(_ weights: [Float], _ page: Int, _ columns: Range<Int>, to sums: inout [Float]) {
            for (row, weight) in weights.enumerated() {
                let key = page * 64 + row
                // Rows behind the last key are cleared.
                guard key < keys.count else { continue }
                for column in columns { sums[column - columns.lowerBound] += weight * keys[key][column] }
            }
        }
        func rounded(_ values: [Float], _ factor: Float) -> [Float] { values.map { Float(BFloat16($0 * factor)) } }
        for first in stride(from: pages.lowerBound, to: pages.upperBound, by: 2) {
            let hasSecond = first + 1 < pages.upperBound
            let before = maximum
            let firstScores = scores(first)
            let raised = max(maximum, firstScores.max() ?? 0)
            let firstWeights = firstScores.map { exp2(max($0 - raised, -1e30)) }
            firstSum = firstSum * exp2(before - raised) + firstWeights.reduce(0, +)
            left = left.map { $0 * exp2(before - raised) }
            add(rounded(firstWeights, 1), first, 0..<256, to: &left)
            var fall: Float = 1
            maximum = raised
            if hasSecond {
                let secondScores = scores(first + 1)
                let top = max(raised, secondScores.max() ?? 0)
                let secondWeights = secondScores.map { exp2(max($0 - top, -1e30)) }
                fall = exp2(raised - top)
                secondSum = secondSum * exp2(before - top) + secondWeights.reduce(0, +)
                firstSum *= fall
                right = right.map { $0 * exp2(before - top) }
                add(rounded(secondWeights, 1), first + 1, 256..<512, to: &right)
                left = left.map { $0 * fall }
                add(rounded(secondWeights, 1), first + 1, 0..<256, to: &left)
                maximum = top
            } else {
                secondSum *= exp2(before - raised)
                right = right.map { $0 * exp2(before - raised) }
            }
            add(rounded(firstWeights, fall), first, 256..<512, to: &right)
        }
        let sum = firstSum + secondSum
        return Piece(
            out: (left + right).map { sum > 0 ? $0 / sum : 0 }, logSum: sum > 0 ? maximum + log2(sum) : -.infinity)
    }

    /// The pieces of a request together: result and natural log-sum.
    func combine(_ pieces: [Piece]) -> (out: [Float], logSum: Float) {
        let largest = pieces.map(\.logSum).max() ?? -.infinity
        guard largest > -.infinity else { return ([Float](repeating: 0, count: 512), .infinity) }
        let weights = pieces.map { exp2($0.logSum - largest) }
        let total = weights.reduce(0, +)
        let out = (0..<512).map { column in
            zip(pieces, weights).reduce(Float(0)) { $0 + $1.1 * $1.0.out[column] } / total
        }
        return (out, (largest + log2(total)) * 0.6931472)
    }
}

@Suite("The arithmetic of the GPU attention kernels")
struct CUDAMLANumbersTests {
    @Test("Pairs, exchanged weights and pieces give the definition's result", arguments: 0..<14)
    func agrees(seed: UInt64) throws {
        var random = RandomNumbers(seed: 40 + seed)
        let lengths = [1, 64, 65, 128, 129, 200, 700, 63, 1000, 320, 0, 2, 191, 450]
        let length = lengths[Int(seed) % lengths.count]
        let tokens = 1 + Int(seed) % 3
        let keys = (0..<length).map { _ in random.normals(576).map { Float(BFloat16($0)) } }
        let queries = random.normals(tokens * 576).map { Float(BFloat16($0)) }
        let reference = ReferenceDecode(
            tokens: tokens, heads: 1, pageSize: 64, rowWidth: 576, valueWidth: 512, isCausal: true, scale: 1 / 24.0)
        let blocks = (0..<Int32(max(1, (length + 63) / 64))).map(\.self)
        var cache = keys.flatMap(\.self)
        cache += [Float](repeating: .nan, count: blocks.count * 64 * 576 - cache.count)
        let expected = reference(queries: queries, cache: cache, blocks: blocks, length: length)
        let arithmetic = KernelArithmetic(scale: 1 / 24 * 1.442_695_04)
        // Cut into as many parts as a machine with so many multiprocessors would.
        for count in [1, 2, 5, 40] {
            let cut = CUDAMLAParts(lengths: [length], count: count)
            var found: [Float] = []
            var sums: [Float] = []
            for token in 0..<tokens {
                let visible = max(0, length - tokens + token + 1)
                let pieces = cut.parts.flatMap { cut.stretches(of: $0, lengths: [length]) }.map {
                    arithmetic.piece(
                        Array(queries[token * 576..<(token + 1) * 576]), keys, pages: $0.pages, visible: visible)
                }
                #expect(pieces.count == cut.pieceCount)
                let result = arithmetic.combine(pieces)
                found += result.out.map { Float(BFloat16($0)) }
                sums.append(result.logSum)
            }
            let difference = calcDiff(found, expected.out.map { Float($0) })
            #expect(difference < 5e-6, "length \(length), \(count) parts: \(difference)")
            for (mine, right) in zip(sums, expected.logSums) {
                #expect(Double(mine) == right || abs(Double(mine) - right) <= max(1e-6, 8.01 / 65536 * abs(right)))
            }
        }
    }
}
