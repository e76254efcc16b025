// SPDX-License-Identifier: MIT

/// Deals items to packs: heaviest first, each to the lightest pack that still has room.
///
/// Equal items keep their order, equal packs go by index. Where no pack has room for two, item i goes to the i-th pack
/// with room, unsorted, as in the original.
struct BalancedPacking {
    /// The pack of each item, and its place in the pack.
    private(set) var packs: [Int32] = []
    private(set) var places: [Int32] = []
    /// The load of each pack.
    private(set) var sums: [Float] = []
    private var fills: [Int32] = []
    private var order: [UInt64] = []
    private var heap = KeyHeap()

    /// - Parameters:
    ///   - loads: of the items.
    ///   - room: items that each pack takes; as many altogether as there are items.
    ///   - strengths: by what a pack's load is divided before packs are compared; nil is one for all.
    mutating func pack(_ loads: [Float], room: [Int], strengths: [Float]? = nil) {
        reset(items: loads.count, packs: room.count)
        guard room.contains(where: { $0 > 1 }) else {
            var pack = 0
            for item in loads.indices {
                while room[pack] == 0 { pack += 1 }
                place(item, loads[item], in: pack)
                pack += 1
            }
            return
        }
        order.removeAll(keepingCapacity: true)
        for item in loads.indices { order.append(UInt64(descending: loads[item], item)) }
        order.sort()
        heap.fill(room.count) { UInt64(ascending: 0, $0) }
        for key in order {
            while room[heap.top.keyIndex] <= Int(fills[heap.top.keyIndex]) { heap.removeTop() }
            let pack = heap.top.keyIndex
            place(key.keyIndex, loads[key.keyIndex], in: pack)
            if Int(fills[pack]) == room[pack] {
                heap.removeTop()
            } else {
                heap.replaceTop(with: UInt64(ascending: sums[pack] / (strengths?[pack] ?? 1), pack))
            }
        }
    }

    private mutating func reset(items: Int, packs count: Int) {
        packs.removeAll(keepingCapacity: true)
        packs.append(contentsOf: repeatElement(0, count: items))
        places.removeAll(keepingCapacity: true)
        places.append(contentsOf: repeatElement(0, count: items))
        sums.removeAll(keepingCapacity: true)
        sums.append(contentsOf: repeatElement(0, count: count))
        fills.removeAll(keepingCapacity: true)
        fills.append(contentsOf: repeatElement(0, count: count))
    }

    private mutating func place(_ item: Int, _ load: Float, in pack: Int) {
        packs[item] = Int32(pack)
        places[item] = fills[pack]
        fills[pack] += 1
        sums[pack] += load
    }
}
