// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#endif

extension Machine {
    /// Bytes of a core's second-level cache; nil where the system does not tell.
    public static let secondLevelCacheSize: Int? = {
        #if canImport(Glibc)
        let size = sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))
        return size > 0 ? size : nil
        #else
        return nil
        #endif
    }()

    /// Bytes of the largest cache that the first core has, alone or with its neighbours; nil where the system does not
    /// tell. The C library is not asked: on some virtual machines it adds up caches that this machine has no part of.
    public static let lastLevelCacheSize: Int? = {
        let sizes = (0..<8).compactMap { index -> Int? in
            guard let text = ProcFile.contents("/sys/devices/system/cpu/cpu0/cache/index\(index)/size") else {
                return nil
            }
            let digits = text.prefix { $0.isNumber }
            let unit = text.dropFirst(digits.count).first == "M" ? 1 << 20 : 1 << 10
            return Int(digits).map { $0 * unit }
        }
        return sizes.max() ?? secondLevelCacheSize
    }()
}
