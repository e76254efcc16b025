// SPDX-License-Identifier: MIT

/// Deals replicas to ranks as `BalancedPacking` does, and never two of one expert to the same rank.
///
/// Where only ranks that hold the expert have room, one of them gets a replica of a full rank that does not hold it,
/// which takes the new one instead. There is such a rank and such a replica whenever rooms differ by at most one and no
/// expert has more replicas than there are ranks with room: the full rank lacks the expert and holds as many different
/// experts as the other one has slots at least, so that one of them is new there.
struct SeparatedPacking {
    /// The rank of each replica, and its place on the rank.
    private(set) var packs: [Int32] = []
    private(set) var places: [Int32] = []
    private var sums: [Float] = []
    private var fills: [Int] = []
    /// Where each pack's places start in `contents`.
    private var starts: [Int] = []
    private var contents: [Int32] = []
    private var order: [UInt64] = []
    private var heap = KeyHeap()
    private var passed: [UInt64] = []

    /// - Parameters:
    ///   - loads: of the replicas.
    ///   - experts: of the replicas.
    ///   - room: replicas that each rank takes; they differ by at most one.
    mutating func pack(_ loads: [Float], experts: [Int32], room: [Int]) {
        reset(items: loads.count, room: room)
        order.removeAll(keepingCapacity: true)
        for item in loads.indices { order.append(UInt64(descending: loads[item], item)) }
        order.sort()
        heap.fill(room.count) { UInt64(ascending: 0, $0) }
        for key in order {
            let item = key.keyIndex
            if let pack = lightestPack(without: experts[item], experts, room) {
                put(item, loads[item], pack)
                if fills[pack] < room[pack] { heap.insert(UInt64(ascending: sums[pack], pack)) }
            } else {
                makeWay(for: item, loads, experts, room)
            }
            for other in passed { heap.insert(other) }
            passed.removeAll(keepingCapacity: true)
        }
        for pack in room.indices {
            for place in 0..<room[pack] {
                let item = Int(contents[starts[pack] + place])
                packs[item] = Int32(pack)
                places[item] = Int32(place)
            }
        }
    }

    /// Takes the lightest pack with room that lacks the expert off the heap; the lighter ones are in `passed` then.
    private mutating func lightestPack(without expert: Int32, _ experts: [Int32], _ room: [Int]) -> Int? {
        while !heap.isEmpty {
            let key = heap.top
            heap.removeTop()
            if fills[key.keyIndex] >= room[key.keyIndex] { continue }
            if !holds(key.keyIndex, expert, experts) { return key.keyIndex }
            passed.append(key)
        }
        return nil
    }

    /// Every pack with room holds the expert, and is in `passed`, the lightest first.
    private mutating func makeWay(for item: Int, _ loads: [Float], _ experts: [Int32], _ room: [Int]) {
        let open = passed[0].keyIndex
        var best: (value: Float, pack: Int, place: Int)?
        for pack in room.indices where fills[pack] == room[pack] && !holds(pack, experts[item], experts) {
            for place in 0..<room[pack] {
                let other = Int(contents[starts[pack] + place])
                if holds(open, experts[other], experts) { continue }
                let value = max(sums[pack] - loads[other] + loads[item], sums[open] + loads[other])
                if value < best?.value ?? .infinity { best = (value, pack, place) }
            }
        }
        guard let best else { preconditionFailure("rooms differ by more than one, or an expert has too many replicas") }
        let other = Int(contents[starts[best.pack] + best.place])
        contents[starts[best.pack] + best.place] = Int32(item)
        sums[best.pack] += loads[item] - loads[other]
        put(other, loads[other], open)
        passed.removeFirst()
        if fills[open] < room[open] { passed.append(UInt64(ascending: sums[open], open)) }
    }

    private func holds(_ pack: Int, _ expert: Int32, _ experts: [Int32]) -> Bool {
        for place in 0..<fills[pack] where experts[Int(contents[starts[pack] + place])] == expert { return true }
        return false
    }

    private mutating func put(_ item: Int, _ load: Float, _ pack: Int) {
        contents[starts[pack] + fills[pack]] = Int32(item)
        fills[pack] += 1
        sums[pack] += load
    }

    private mutating func reset(items: Int, room: [Int]) {
        packs = [Int32](repeating: 0, count: items)
        places = packs
        contents = packs
        sums = [Float](repeating: 0, count: room.count)
        fills = [Int](repeating: 0, count: room.count)
        starts.removeAll(keepingCapacity: true)
        var start = 0
        for slots in room {
            starts.append(start)
            start += slots
        }
        passed.removeAll(keepingCapacity: true)
    }
}
