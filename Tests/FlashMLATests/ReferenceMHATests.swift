// SPDX-License-Identifier: MIT

import FlashMLA
import TestSupport
import Testing

@Suite("The definition of attention gradients")
struct ReferenceMHATests {
    @Test("Gradients agree with differences of the loss", arguments: [(3, 5), (5, 3), (4, 4)], [false, true])
    func differences(lengths: (Int, Int), isCausal: Bool) {
        var random = RandomNumbers(seed: 70)
        func rows(_ count: Int, _ width: Int) -> [[Double]] {
            (0..<count).map { _ in random.normals(width).map { Double($0) } }
        }
        let one = ReferenceMHA(
            queries: rows(lengths.0, 4), keys: rows(lengths.1, 4), values: rows(lengths.1, 3),
            isCausal: isCausal, scale: 0.7)
        let outGradient = rows(lengths.0, 3)
        let found = one.gradients(outGradient: outGradient, out: one.out(valueWidth: 3))
        func loss(_ m: ReferenceMHA) -> Double {
            zip(m.out(valueWidth: 3), outGradient).reduce(0) { sum, pair in
                sum + zip(pair.0, pair.1).reduce(0) { $0 + $1.0 * $1.1 }
            }
        }
        func expectSlope(_ path: WritableKeyPath<ReferenceMHA, [[Double]]>, _ gradient: [[Double]]) {
            let step = 1e-5
            for i in gradient.indices {
                for c in gradient[i].indices {
                    var above = one
                    var below = one
                    above[keyPath: path][i][c] += step
                    below[keyPath: path][i][c] -= step
                    let slope = (loss(above) - loss(below)) / (2 * step)
                    #expect(abs(slope - gradient[i][c]) < 1e-7, "row \(i), column \(c)")
                }
            }
        }
        expectSlope(\.queries, found.queries)
        expectSlope(\.keys, found.keys)
        expectSlope(\.values, found.values)
    }
}
