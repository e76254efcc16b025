// SPDX-License-Identifier: MIT

/// Gives the replicas beyond the first to the experts whose replicas have most to do, one after the other.
///
/// No other counts have a smaller largest load per replica.
struct Replication {
    /// The expert of each replica; the first replicas are the experts themselves.
    private(set) var experts: [Int32] = []
    /// Which replica of its expert each one is.
    private(set) var indices: [Int32] = []
    /// The load of each replica.
    private(set) var loads: [Float] = []
    /// How many replicas each expert has.
    private(set) var counts: [Int32] = []
    private var heap = KeyHeap()

    /// - Parameters:
    ///   - loads: of the experts.
    ///   - count: how many replicas there are to be, the experts' number at least.
    ///   - limit: the most that an expert may have.
    mutating func replicate(_ expertLoads: [Float], count: Int, limit: Int) {
        precondition(count >= expertLoads.count && count <= expertLoads.count * limit)
        experts.removeAll(keepingCapacity: true)
        indices.removeAll(keepingCapacity: true)
        counts.removeAll(keepingCapacity: true)
        for expert in expertLoads.indices {
            experts.append(Int32(expert))
            indices.append(0)
            counts.append(1)
        }
        if count > expertLoads.count {
            heap.fill(expertLoads.count) { UInt64(descending: expertLoads[$0], $0) }
            if limit == 1 { preconditionFailure("more replicas than experts, and one for each") }
        }
        for _ in expertLoads.count..<count {
            let expert = heap.top.keyIndex
            experts.append(Int32(expert))
            indices.append(counts[expert])
            counts[expert] += 1
            if Int(counts[expert]) == limit {
                heap.removeTop()
            } else {
                heap.replaceTop(with: UInt64(descending: expertLoads[expert] / Float(counts[expert]), expert))
            }
        }
        loads.removeAll(keepingCapacity: true)
        for expert in experts {
            loads.append(expertLoads[Int(expert)] / Float(counts[Int(expert)]))
        }
    }
}
