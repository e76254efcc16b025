// SPDX-License-Identifier: MIT

import FlashMLA
import Platform
import TestSupport
import Testing

@Suite("Attention schedule")
struct AttentionScheduleTests {
    /// A request's token, a head and a partition.
    private struct Cell: Hashable {
        var request: Int
        var token: Int
        var head: Int
        var partition: Int
    }

    @Test(
        "Every token, head and partition is covered exactly once, by items of bounded size", arguments: 0..<60
    )
    func coverage(seed: Int) {
        var random = RandomNumbers(seed: UInt64(seed))
        let keyHeads = [1, 1, 2, 5][seed % 4]
        let heads = keyHeads * [1, 2, 3, 4, 16, 20, 64, 65, 128][seed % 9]
        let threads = [1, 2, 3, 8, 64][random.number(below: 5)]
        let extents = (0..<1 + random.number(below: 5)).map { _ in
            let tokens = 1 + random.number(below: seed % 3 == 0 ? 90 : 3)
            return AttentionExtent(
                tokenCount: tokens, length: random.number(below: 3000), isCausal: random.number(below: 2) == 0)
        }
        let schedule = AttentionSchedule(
            extents: extents, headCount: heads, keyHeadCount: keyHeads, threadCount: threads)
        var seen: Set<Cell> = []
        var count = 0
        for item in schedule.items {
            #expect(item.rows.count <= AttentionSchedule.maximumRows && item.rows.count > 0)
            let group = heads / keyHeads
            #expect(
                item.rows.heads.lowerBound / group == (item.rows.heads.upperBound - 1) / group,
                "an item has one key head")
            for token in item.rows.tokens {
                for head in item.rows.heads {
                    for partition in item.partitions {
                        seen.insert(
                            Cell(request: item.rows.request, token: token, head: head, partition: partition))
                        count += 1
                    }
                }
            }
        }
        #expect(seen.count == count, "something is covered twice")
        for (index, extent) in extents.enumerated() {
            for token in 0..<extent.tokenCount {
                // Tokens that share an item with later ones may have partitions in which they see nothing.
                let needed = (extent.visible(token) + partitionSize - 1) / partitionSize
                for head in 0..<heads {
                    for partition in 0..<needed {
                        let cell = Cell(request: index, token: token, head: head, partition: partition)
                        if !seen.contains(cell) { Issue.record("\(cell) is not covered") }
                    }
                }
            }
        }
        expectStorage(schedule)
        #expect(zip(schedule.items, schedule.items.dropFirst()).allSatisfy { $0.cost >= $1.cost })
    }

    /// Every row of every request is finished once: by an item or by a merge of sets stored side by side, ascending.
    private func expectStorage(_ schedule: AttentionSchedule) {
        var rows = schedule.items.filter { $0.storedRows == nil }.map(\.rows)
        var next = 0
        for merge in schedule.merges {
            #expect(merge.storedRows == next)
            let parts = schedule.items.filter { $0.rows == merge.rows }.sorted {
                $0.partitions.lowerBound < $1.partitions.lowerBound
            }
            #expect(parts.count > 1 && parts.first?.partitions.lowerBound == 0)
            for (index, part) in parts.enumerated() {
                #expect(part.storedRows == next)
                if index > 0 { #expect(part.partitions.lowerBound == parts[index - 1].partitions.upperBound) }
                next += (index == 0 ? 1 : part.partitions.count) * merge.rows.count
            }
            #expect(next == merge.storedRows + merge.setCount * merge.rows.count)
            rows.append(merge.rows)
        }
        #expect(next == schedule.storedRowCount)
        for (index, a) in rows.enumerated() {
            for b in rows[..<index]
            where a.request == b.request && a.tokens.overlaps(b.tokens) && a.heads.overlaps(b.heads) {
                Issue.record("\(a) and \(b) are both finished")
            }
        }
    }

    @Test("A long single sequence occupies every thread; many equal requests are not split")
    func balance() {
        func make(_ count: Int, threads: Int) -> AttentionSchedule {
            AttentionSchedule(
                extents: Array(
                    repeating: AttentionExtent(tokenCount: 1, length: 8000, isCausal: true), count: count),
                headCount: 16, keyHeadCount: 1, threadCount: threads)
        }
        #expect(make(1, threads: 8).items.count >= 8 && make(1, threads: 8).merges.count == 1)
        #expect(make(64, threads: 8).merges.isEmpty && make(64, threads: 8).items.count == 64)
        #expect(make(1, threads: 1).merges.isEmpty && make(1, threads: 1).items.count == 1)
        #expect(make(0, threads: 8).items.isEmpty)
    }

    @Test(
        "One very long request beside short ones leaves no thread idle for long",
        arguments: [1, 3, 16, 128], [2, 3, 8, 32])
    func longAndShort(heads: Int, threads: Int) throws {
        let lengths = [131_072] + (0..<31).map { Int32(300 + 17 * $0) }
        let schedule = try MLASchedule(
            lengths: lengths, queryCount: 1, headCount: heads, isCausal: true, threadCount: threads)
        let costs = schedule.expectedCosts
        let mean = Double(costs.reduce(0, +)) / Double(threads)
        #expect(Double(costs.max() ?? 0) < 1.15 * mean, "\(costs)")
    }

    @Test("Lengths drawn from a wide range are balanced like equal ones", arguments: 0..<10)
    func drawnLengths(seed: Int) throws {
        var random = RandomNumbers(seed: UInt64(70 + seed))
        let lengths = (0..<16).map { _ in Int32(1 + random.number(below: 32768)) }
        for threads in [2, 8] {
            let schedule = try MLASchedule(
                lengths: lengths, queryCount: 1, headCount: 16, isCausal: true, threadCount: threads)
            let costs = schedule.expectedCosts
            let mean = Double(costs.reduce(0, +)) / Double(threads)
            #expect(Double(costs.max() ?? 0) < 1.1 * mean, "\(costs)")
        }
    }

    @Test("Rows that share keys stay together while there are partitions to cut")
    func fewHeads() {
        let one = AttentionSchedule(
            extents: [AttentionExtent(tokenCount: 4, length: 20_000, isCausal: true)], headCount: 2,
            keyHeadCount: 1, threadCount: 4)
        #expect(one.items.allSatisfy { $0.rows.tokens == 0..<4 && $0.rows.heads == 0..<2 })
        // A short request with many heads has nothing but its rows to cut.
        let short = AttentionSchedule(
            extents: [AttentionExtent(tokenCount: 1, length: 300, isCausal: true)], headCount: 128,
            keyHeadCount: 1, threadCount: 4)
        #expect(short.items.count >= 8 && short.items.allSatisfy { $0.rows.count >= 8 })
    }

    @Test("The memory for split sums is stated, and nothing without a split")
    func memory() throws {
        func bytes(_ lengths: [Int32], threads: Int) throws -> Int {
            try MLASchedule(
                lengths: lengths, queryCount: 1, headCount: 16, isCausal: true, threadCount: threads
            ).splitByteCount(valueWidth: 512)
        }
        #expect(try bytes([32768], threads: 1) == 0)
        // An eighth of the partitions in the first item, which stores one set; the others store one for each.
        #expect(try bytes([32768], threads: 2) == (1 + 56) * 16 * 514 * 4)
    }

    @Test("Numbers out of range are errors that name them")
    func misuse() throws {
        func message(
            _ lengths: [Int32] = [5], queries: Int = 1, heads: Int = 4, keyHeads: Int = 1, threads: Int = 2
        ) -> String {
            do {
                _ = try MLASchedule(
                    lengths: lengths, queryCount: queries, headCount: heads, keyHeadCount: keyHeads,
                    isCausal: false, threadCount: threads)
                return ""
            } catch { return error.code == .usage ? error.message : "" }
        }
        #expect(message([3, -7]).contains("request 1 is -7"))
        #expect(message(queries: 0).contains("query tokens of a request: 0; legal are 1"))
        #expect(message(heads: 0).contains("query heads: 0"))
        #expect(message(keyHeads: -1).contains("key heads: -1"))
        #expect(message(heads: 5, keyHeads: 2).contains("5 query heads share 2 key heads"))
        #expect(message(threads: 0).contains("threads: 0; legal are 1 to 65536"))
        #expect(message(queries: 1 << 13, heads: 1 << 12).contains("query rows than a call may have"))
        #expect(message(queries: 1 << 30, heads: 1 << 30).contains("up to 16777216"))
        #expect(message(threads: 1 << 40).contains("1 to 65536"))
    }
}
