// SPDX-License-Identifier: MIT

/// Which of many numbers is the least, kept as they change: a tree of winners. A change takes as many comparisons as
/// the count has bits, none of them a branch.
struct LeastTree: Sendable {
    /// The root is at 1, the numbers lie in the second half; each with its index in the low bits, so that the first of
    /// equals wins.
    private var nodes: [Int]
    private let leaves: Int

    private static let indexBits = 16
    private static let none = Int.max

    /// As many numbers, none of which is there yet.
    init(count: Int) {
        precondition(count <= 1 << Self.indexBits, "indices fit beside numbers")
        var leaves = 1
        while leaves < count { leaves *= 2 }
        self.leaves = leaves
        nodes = Array(repeating: Self.none, count: 2 * leaves)
    }

    /// The first with the least number; nil if none is there.
    var least: Int? { nodes[1] == Self.none ? nil : nodes[1] & (1 << Self.indexBits - 1) }

    /// A number from 0 to 2⁴⁶; nil takes it out.
    subscript(index: Int) -> Int? {
        get { nodes[leaves + index] == Self.none ? nil : nodes[leaves + index] >> Self.indexBits }
        set {
            var winner = newValue.map { $0 << Self.indexBits | index } ?? Self.none
            // SAFETY: `node` goes from a leaf to the root, and its neighbour lies in the same half of a level.
            nodes.withUnsafeMutableBufferPointer { nodes in
                var node = leaves + index
                nodes[node] = winner
                while node > 1 {
                    winner = min(winner, nodes[node ^ 1])
                    node >>= 1
                    nodes[node] = winner
                }
            }
        }
    }
}
