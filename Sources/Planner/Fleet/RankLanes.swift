// SPDX-License-Identifier: MIT

/// A number for each GPU of a unit, sixteen to a vector, so that the least of hundreds is found in some dozens of
/// instructions.
struct RankLanes: Sendable {
    private(set) var lanes: [SIMD16<Int32>]
    let count: Int

    /// All are `value`; lanes beyond the last GPU hold `padding`.
    init(count: Int, repeating value: Int32, padding: Int32) {
        self.count = count
        lanes = Array(repeating: SIMD16(repeating: value), count: (count + 15) / 16)
        for rank in count..<lanes.count * 16 { lanes[rank >> 4][rank & 15] = padding }
    }

    subscript(rank: Int) -> Int32 {
        // SAFETY: the lanes of the vectors lie one behind the other, four bytes each, and `rank` is one of them; a
        // vector's own subscript would go through a copy of the whole vector.
        get { lanes.withUnsafeBytes { $0.load(fromByteOffset: rank << 2, as: Int32.self) } }
        set { lanes.withUnsafeMutableBytes { $0.storeBytes(of: newValue, toByteOffset: rank << 2, as: Int32.self) } }
    }

    /// The first GPU with the least.
    var least: Int {
        var low = lanes[0]
        for index in 1..<max(lanes.count, 1) { low = pointwiseMin(low, lanes[index]) }
        let wanted = SIMD16(repeating: low.min())
        for index in lanes.indices {
            let mask = lanes[index] .== wanted
            if any(mask) {
                for lane in 0..<16 where mask[lane] { return index << 4 | lane }
            }
        }
        return 0
    }

    /// The largest of all.
    var largest: Int32 {
        var high = lanes[0]
        for index in 1..<max(lanes.count, 1) { high = pointwiseMax(high, lanes[index]) }
        return high.max()
    }

    /// Adds the numbers of others, GPU by GPU.
    mutating func add(_ other: RankLanes) {
        for index in lanes.indices { lanes[index] &+= other.lanes[index] }
    }

    /// Sets the numbers of all GPUs to 0.
    mutating func clear(padding: Int32) {
        for index in lanes.indices { lanes[index] = SIMD16(repeating: 0) }
        for rank in count..<lanes.count * 16 { lanes[rank >> 4][rank & 15] = padding }
    }
}
