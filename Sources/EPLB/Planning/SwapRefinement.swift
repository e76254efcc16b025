// SPDX-License-Identifier: MIT

/// Exchanges replicas of the fullest rank for lighter ones of other ranks, as long as that lowers the larger of both.
struct SwapRefinement {
    /// An exchange must lower the load by more than this fraction: less is rounding.
    private static let leastGain = 1e-6

    private var starts: [Int] = []
    private var items: [Int32] = []
    private var sums: [Double] = []

    /// - Parameters:
    ///   - packs: the rank of each replica, changed here; as `places`, its place on the rank.
    ///   - limit: exchanges at most.
    ///   - separates: whether two replicas of one expert on a rank are forbidden; none may be there then.
    mutating func refine(
        packs: inout [Int32], places: inout [Int32], loads: [Float], experts: [Int32], room: [Int], limit: Int,
        separates: Bool
    ) {
        starts.removeAll(keepingCapacity: true)
        var start = 0
        for slots in room {
            starts.append(start)
            start += slots
        }
        starts.append(start)
        items = [Int32](repeating: 0, count: loads.count)
        sums = [Double](repeating: 0, count: room.count)
        for item in loads.indices {
            items[starts[Int(packs[item])] + Int(places[item])] = Int32(item)
            sums[Int(packs[item])] += Double(loads[item])
        }
        for _ in 0..<limit {
            let fullest = sums.indices.reduce(0) { sums[$1] > sums[$0] ? $1 : $0 }
            guard let swap = bestSwap(fullest, loads, experts, separates) else { break }
            let gain = Double(loads[Int(items[swap.given])]) - Double(loads[Int(items[swap.taken])])
            sums[fullest] -= gain
            sums[swap.rank] += gain
            items.swapAt(swap.given, swap.taken)
        }
        for rank in room.indices {
            for slot in starts[rank]..<starts[rank + 1] {
                packs[Int(items[slot])] = Int32(rank)
                places[Int(items[slot])] = Int32(slot - starts[rank])
            }
        }
    }

    private typealias Swap = (given: Int, taken: Int, rank: Int)

    /// The exchange after which the larger of both loads is smallest.
    private func bestSwap(_ fullest: Int, _ loads: [Float], _ experts: [Int32], _ separates: Bool) -> Swap? {
        var bound = sums[fullest] * (1 - Self.leastGain)
        var best: Swap?
        for rank in sums.indices where rank != fullest && sums[rank] < bound {
            for given in starts[fullest]..<starts[fullest + 1] {
                let load = Double(loads[Int(items[given])])
                for taken in starts[rank]..<starts[rank + 1] {
                    let gain = load - Double(loads[Int(items[taken])])
                    let value = max(sums[fullest] - gain, sums[rank] + gain)
                    guard value < bound else { continue }
                    if separates,
                        holds(rank, experts[Int(items[given])], experts)
                            || holds(fullest, experts[Int(items[taken])], experts)
                    {
                        continue
                    }
                    bound = value
                    best = (given, taken, rank)
                }
            }
        }
        return best
    }

    private func holds(_ rank: Int, _ expert: Int32, _ experts: [Int32]) -> Bool {
        for slot in starts[rank]..<starts[rank + 1] where experts[Int(items[slot])] == expert { return true }
        return false
    }
}
