// SPDX-License-Identifier: MIT

import CUDA
import DeepGEMM
import Platform
import TestSupport
import Testing

/// What the device code's address functions give when the host's clang compiles them: rows of numbers by name.
private struct LayoutTables {
    var rows: [String: [[Int]]] = [:]

    static let isThere: Bool = {
        let isThere = ((try? ToolRun("clang++", ["--version"]))?.status ?? 1) == 0
        if !isThere { print("SKIPPED: address functions of the GPU kernels, because clang++ is not there") }
        return isThere
    }()

    init(_ configuration: CUDAGemmConfiguration, _ body: String) throws {
        let folder = try TemporaryFolder()
        func write(_ name: String, _ text: String) throws {
            try AtomicFileWriter.write(Array(text.utf8), path: FilePaths.join(folder.path, name))
        }
        try write("layout.cuh", DeviceHeaders.layout.text)
        try write("configuration.cuh", configuration.constants)
        try write("gemm_layout.cuh", CUDAGemmConfiguration.layoutText)
        try write(
            "main.cpp",
            """
            #include <cstdio>
            #include "gemm_layout.cuh"
            using namespace fathom;
            template <class... T> void row(const char *name, T... values) {
                std::printf("%s", name);
                (std::printf(" %llu", (unsigned long long)values), ...);
                std::printf("\\n");
            }
            int main() { \(body) }
            """)
        let program = FilePaths.join(folder.path, "main")
        let build = try ToolRun("clang++", ["-std=c++20", "-O0", "-o", program, "\(program).cpp"])
        try #require(build.status == 0, "\(build.output)")
        let run = try ToolRun(program, [])
        try #require(run.status == 0)
        for line in run.output.split(separator: "\n") {
            let words = line.split(separator: " ")
            rows[String(words[0]), default: []].append(
                words.dropFirst().map { Int(truncatingIfNeeded: UInt64($0) ?? 0) })
        }
    }
}

private func plain(_ change: (inout CUDAGemmConfiguration) -> Void = { _ in }) -> CUDAGemmConfiguration {
    var c = CUDAGemmPlan(CUDAGemmShape(m: 4096, n: 4096, k: 4096)).configuration
    (c.blockRows, c.blockColumns, c.storeColumns, c.stages, c.cluster, c.sharesA) = (128, 128, 128, 4, 1, true)
    change(&c)
    return c
}

@Suite("Addresses in the GPU product's kernel", .enabled(if: LayoutTables.isThere))
struct CUDAGemmLayoutTests {
    @Test("Swizzles exchange 16-byte columns by the row")
    func swizzles() throws {
        let tables = try LayoutTables(
            plain(),
            "for (u32 o = 0; o < 8192; o += 8) row(\"s\", o, swizzle<128>(o), swizzle<64>(o), swizzle<32>(o));")
        for row in try #require(tables.rows["s"]) {
            for (index, span) in [128, 64, 32].enumerated() {
                let (line, inside) = row[0].quotientAndRemainder(dividingBy: span)
                // Eight rows of 128 bytes, four pairs of rows of 64, two fours of rows of 32 make one pattern.
                let key = line / (128 / span) % (span / 16)
                let expected = line * span + (inside / 16 ^ key) * 16 + inside % 16
                #expect(row[index + 1] == expected, "offset \(row[0]), span \(span)")
            }
        }
    }

    @Test("Accumulators and operands in registers lie as the instruction wants")
    func fragments() throws {
        let tables = try LayoutTables(
            plain(),
            """
            for (u32 t = 0; t < 128; ++t) for (u32 r = 0; r < 128; ++r)
                row("c", t, r, accumulatorRow(t, r), accumulatorColumn(t, r));
            for (u32 t = 0; t < 128; ++t) for (u32 r = 0; r < 4; ++r)
                row("a", t, r, operandRow(t, r), operandColumn<2>(t, r), operandColumn<4>(t, r));
            """)
        var seen: Set<[Int]> = []
        for v in try #require(tables.rows["c"]) {
            let (row, column) = (v[2], v[3])
            seen.insert([row, column])
            #expect(v[0] == row / 16 * 32 + row % 8 * 4 + column % 8 / 2)
            #expect(v[1] == column / 8 * 4 + row % 16 / 8 * 2 + column % 2)
        }
        #expect(seen.count == 64 * 256)
        for v in try #require(tables.rows["a"]) {
            for (column, width) in [(v[3], 2), (v[4], 4)] {
                #expect(v[0] == v[2] / 16 * 32 + v[2] % 8 * 4 + column % (4 * width) / width)
                #expect(v[1] == v[2] % 16 / 8 + column / (4 * width) * 2)
            }
        }
    }

    @Test("Descriptors have their fields in place")
    func descriptors() throws {
        let tables = try LayoutTables(
            plain(),
            """
            row("d", descriptorShape<128>(16, 1024), descriptorShape<64>(16, 512), descriptorShape<32>(16, 256),
                descriptorShape<0>(128, 256), descriptorAddress(0x2A400));
            """)
        let row = try #require(tables.rows["d"]?.first)
        #expect(row[0] == Int(bitPattern: UInt(1) << 62 | UInt(64) << 32 | UInt(1) << 16))
        #expect(UInt64(bitPattern: Int64(row[3])) == 16 << 32 | 8 << 16)
        #expect(row[4] == 0x2A40)
    }

    /// Configurations with every width of the output's swizzle.
    static let outputs: [CUDAGemmConfiguration] = [
        plain(), plain { $0.storeColumns = 64 }, plain { ($0.blockColumns, $0.storeColumns) = (112, 112) },
        plain { ($0.blockColumns, $0.storeColumns) = (160, 160) },
        plain { ($0.blockColumns, $0.storeColumns) = (16, 16) },
        plain { ($0.blockRows, $0.storeColumns, $0.stages) = (256, 64, 4) },
        plain { ($0.output, $0.storeColumns) = (.float32, 64) },
        plain { ($0.output, $0.blockColumns, $0.storeColumns) = (.float32, 48, 48) },
    ]

    @Test("Accumulators reach their own place in the output buffer", arguments: outputs)
    func output(_ configuration: CUDAGemmConfiguration) throws {
        let tables = try LayoutTables(
            configuration,
            """
            row("panel", kSpan, kPanelColumns, kStorePanels, kPanelBytes, kSharedBytes, kOutputGroupBytes);
            for (u32 r = 0; r < 64; ++r) for (u32 c = 0; c < kStoreBytes / 16; ++c) row("o", r, c, outputOffset(r, c));
            for (u32 lane = 0; lane < 32; ++lane) row("m", lane, matrixRow(lane), matrixHalf(lane));
            """)
        let panel = try #require(tables.rows["panel"]?.first)
        #expect(panel[4] == configuration.sharedBytes)
        let (span, size) = (panel[0], configuration.output.byteCount)
        #expect(panel[1] * size == span && panel[2] * panel[1] == configuration.storeColumns)
        // The place of (row, 16-byte chunk): rows of one panel follow each other, chunks are swizzled.
        var offsets: [[Int]: Int] = [:]
        for v in try #require(tables.rows["o"]) {
            let (number, chunk) = v[1].quotientAndRemainder(dividingBy: span / 16)
            let key = v[0] / (128 / span) % (span / 16)
            #expect(v[2] == number * 64 * span + v[0] * span + (chunk ^ key) * 16)
            offsets[[v[0], v[1]]] = v[2]
        }
        #expect(Set(offsets.values).count == offsets.count)
        #expect((offsets.values.max() ?? 0) + 16 == panel[5])
        // stmatrix: row i of matrix j goes where lane 8 * j + i says, its elements come from lanes 4 * i + e / 2.
        for v in try #require(tables.rows["m"]) {
            let (matrix, i) = v[0].quotientAndRemainder(dividingBy: 8)
            for e in 0..<8 {
                let (lane, register) = (4 * i + e / 2, matrix * 2 + e % 2)
                #expect(v[1] == lane / 4 + register / 2 % 2 * 8)
                #expect(v[2] * 8 + e == register / 4 * 8 + lane % 4 * 2 + register % 2)
            }
        }
    }

    /// Configurations that walk over tiles differently.
    static let walks: [CUDAGemmConfiguration] = [
        plain(), plain { $0.rasterAlongRows = false }, plain { $0.cluster = 2 },
        plain { ($0.cluster, $0.sharesA, $0.rasterWidth) = (2, false, 16) },
        plain { ($0.blockColumns, $0.storeColumns, $0.rasterAlongRows) = (112, 112, false) },
        plain { ($0.blockRows, $0.splits) = (64, 5) },
    ]

    @Test("Every tile is visited once, pairs share an operand, splits cover K", arguments: walks)
    func tiles(_ configuration: CUDAGemmConfiguration) throws {
        for (m, n) in [(1, 1), (4096, 2112), (1000, 7168), (300, 130), (128 * 17, 128 * 9)] {
            let tables = try LayoutTables(
                configuration,
                """
                const u32 um = unitsAlongM(\(m)), un = unitsAlongN(\(n));
                for (u32 u = 0; u < um * un; ++u) for (u32 r = 0; r < kCluster; ++r) {
                    const TilePlace p = tileOfUnit(u, r, um, un);
                    row("t", u, r, p.row, p.column);
                }
                for (u32 s = 0; s <= kSplits; ++s) row("k", firstBlockOfSplit(s, 57));
                """)
            let c = configuration
            let places = try #require(tables.rows["t"])
            let covered = Set(places.map { [$0[2], $0[3]] })
            #expect(covered.count == places.count)
            for row in stride(from: 0, to: m, by: c.blockRows) {
                for column in stride(from: 0, to: n, by: c.blockColumns) { #expect(covered.contains([row, column])) }
            }
            for pair in Dictionary(grouping: places, by: { $0[0] }).values where pair.count == 2 {
                #expect(pair[0][c.sharesA ? 2 : 3] == pair[1][c.sharesA ? 2 : 3])
            }
            let starts = try #require(tables.rows["k"]).map { $0[0] }
            #expect(starts.first == 0 && starts.last == 57 && starts == starts.sorted())
        }
    }

    @Test("Columns of a tile find their block of scales", arguments: [16, 48, 64, 96, 112, 128, 144, 160, 192])
    func scales(blockColumns: Int) throws {
        let tables = try LayoutTables(
            plain { ($0.blockRows, $0.blockColumns, $0.storeColumns) = (64, blockColumns, 16) },
            "for (u32 n = 0; n < 64 * kBlockN; n += kBlockN) row(\"b\", n, columnsOfFirstScale(n));")
        for v in try #require(tables.rows["b"]) {
            for column in stride(from: 0, to: blockColumns, by: 8) {
                let straddles = 128 % blockColumns != 0 && column >= v[1]
                #expect((v[0] + column) / 128 == v[0] / 128 + (straddles ? 1 : 0), "tile at \(v[0]), column \(column)")
                #expect((v[0] + column) / 128 == (v[0] + column + 7) / 128)
            }
        }
    }
}
