// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import Tensors
import TestSupport
import Testing

@Suite("Formats, expanded rows and sums of choices", .timeLimit(.minutes(5)))
struct FormatTests {
    static let elements: [RowFormat.Element] = [
        .bfloat16, .float32, .float8E4M3(.float32), .float8E4M3(.packedUE8M0),
    ]

    @Test("rows of every format arrive with their scales, and expand by expert with zeros between", arguments: elements)
    func expand(element: RowFormat.Element) throws {
        let group = try TestGroup(seed: 77)
        let format = try RowFormat(hidden: 300, element: element)
        let ranks = group.placement.rankCount
        let topK = group.selections[0].topK
        var random = RandomNumbers(seed: 3)
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(random.number(below: 256)) } }
        let rows = group.selections.map { $0.tokenCount }.map { (0..<$0).map { _ in bytes(format.dataBytes) } }
        let scales = group.selections.map { $0.tokenCount }.map { (0..<$0).map { _ in bytes(format.scaleBytes) } }
        let reference = try ReferenceExchange(placement: group.placement, selections: group.selections)
        let wanted = reference.dispatch(rows)
        let selections = group.selections
        let placement = group.placement
        _ = try RankGroup.threads(try Topology(rankCount: ranks)) { ranks throws(FathomError) in
            let exchange = try ExpertExchange(
                group: ranks, placement: placement, format: format, topK: topK,
                capacity: .fitting(tokensPerRank: 14, rankCount: placement.rankCount))
            let rank = ranks.rank
            let input = try TestExchange.rows(rows[rank], scales: scales[rank], format: format)
            let (tokens, _) = try exchange.dispatch(input, selections[rank])
            #expect(TestExchange.contents(tokens) == wanted[rank])
            let expanded = try ExpandedTokens(tokens, alignment: 4)
            #expect(expanded.starts.allSatisfy { $0 % 4 == 0 })
            var used = [Bool](repeating: false, count: expanded.rowCount)
            for (place, row) in expanded.rowOfChoice.enumerated() where row >= 0 {
                let (token, choice) = (wanted[rank][place / topK], place % topK)
                #expect(expanded.expertOfRow[Int(row)] == token.localExperts[choice])
                #expect(Self.row(expanded.rows, Int(row), format.dataBytes) == token.row)
                #expect(
                    Self.row(expanded.scales, Int(row), format.scaleBytes)
                        == scales[token.sourceRank][token.sourceToken])
                #expect(!used[Int(row)])
                used[Int(row)] = true
            }
            for row in used.indices where !used[row] {
                #expect(expanded.expertOfRow[row] == -1)
                #expect(Self.row(expanded.rows, row, format.dataBytes).allSatisfy { $0 == 0 })
            }
        }
    }

    static func row(_ buffer: AlignedBuffer<UInt8>, _ index: Int, _ count: Int) -> [UInt8] {
        TestExchange.bytes(UnsafeRawPointer(buffer.baseAddress + index * count), count)
    }

    /// The sums of choices on so many ranks; the experts multiply a row by a number of their own.
    private func sums(ranks: Int, rows: [[Float]], selection: TopKSelection, experts: Int) throws -> [[UInt8]] {
        let placement = try ExpertPlacement(rankCount: ranks, expertCount: experts)
        let hidden = rows[0].count
        let format = try RowFormat(hidden: hidden, element: .float32)
        let all = try RankGroup.threads(try Topology(rankCount: ranks)) { group throws(FathomError) -> [[UInt8]] in
            let exchange = try ExpertExchange(
                group: group, placement: placement, format: format, topK: selection.topK,
                capacity: .fitting(tokensPerRank: rows.count, rankCount: ranks))
            // Rank 0 has all the tokens.
            let own = group.rank == 0 ? rows : []
            let choices =
                group.rank == 0 ? selection : try TopKSelection(topK: selection.topK, experts: [], weights: [])
            let input = own.map { $0.flatMap { value in withUnsafeBytes(of: value) { Array($0) } } }
            let (tokens, handle) = try exchange.dispatch(try TestExchange.rows(input, format: format), choices)
            let expanded = try ExpandedTokens(tokens)
            expanded.rows.baseAddress.withMemoryRebound(to: Float.self, capacity: expanded.rowCount * hidden) {
                for (row, expert) in expanded.expertOfRow.enumerated() {
                    let factor = 1 + Float(expert + Int32(tokens.experts.lowerBound)) / 7
                    for index in 0..<hidden { $0[row * hidden + index] *= factor }
                }
            }
            let returned = TokenRows(expanded.rows, count: expanded.rowCount, format: format)
            let combined = try exchange.combineChoices(returned, expanded: expanded, handle: handle, weighted: true)
            let begun = try exchange.beginCombineChoices(
                returned, expanded: expanded, handle: handle, weighted: true
            ).wait()
            #expect(TestExchange.sums(begun, choices, format) == TestExchange.sums(combined, choices, format))
            return TestExchange.sums(combined, choices, format)
        }
        return all[0]
    }

    @Test("sums of choices do not depend on the number of ranks, bit for bit")
    func choices() throws {
        var random = RandomNumbers(seed: 5)
        let rows = (0..<20).map { _ in random.normals(37) }
        let ids = (0..<20 * 4).map { _ in Int32(random.number(below: 12)) - 1 }
        let selection = try TopKSelection(topK: 4, experts: ids, weights: random.normals(80))
        let one = try sums(ranks: 1, rows: rows, selection: selection, experts: 11)
        for ranks in [2, 3, 5, 8] {
            #expect(try sums(ranks: ranks, rows: rows, selection: selection, experts: 11) == one)
        }
        // Held to plain arithmetic.
        for (token, row) in rows.enumerated() {
            let wanted = row.indices.map { index in
                selection.choices(of: token).enumerated().reduce(into: Float(0)) { sum, choice in
                    guard choice.element >= 0 else { return }
                    let weight = selection.weights?[token * 4 + choice.offset] ?? 0
                    sum += row[index] * (1 + Float(choice.element) / 7) * weight
                }
            }
            #expect(one[token] == wanted.flatMap { value in withUnsafeBytes(of: value) { Array($0) } })
        }
    }
}
