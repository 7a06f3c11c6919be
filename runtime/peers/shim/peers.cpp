// The C++ originals behind one C interface: moodycamel's queue; libcuckoo's, oneTBB's and libcds's maps of 64-bit keys
// and values. Nothing here decides anything: a function is one call of the library, so that what is measured is it.
//
// build.rs defines HAVE_* for the packages that are there.

#include <cstddef>
#include <cstdint>
#include <malloc.h>

// Bytes that this process has from glibc's allocator: the C++ libraries', and nothing of Rust's, which has its own.
extern "C" size_t peers_heap_bytes() {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// Murmur3's finalizer: what foldhash is to the Rust contenders, about.
struct Mix {
    size_t operator()(uint64_t key) const {
        key = (key ^ (key >> 33)) * 0xff51afd7ed558ccdULL;
        key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53ULL;
        return key ^ (key >> 33);
    }
};

#ifdef HAVE_MOODYCAMEL
#include <concurrentqueue/concurrentqueue.h>

using Moody = moodycamel::ConcurrentQueue<uint64_t>;

extern "C" {
void* moody_new(size_t capacity) { return new Moody(capacity); }
void moody_free(void* queue) { delete static_cast<Moody*>(queue); }
void* moody_producer_new(void* queue) { return new moodycamel::ProducerToken(*static_cast<Moody*>(queue)); }
void moody_producer_free(void* token) { delete static_cast<moodycamel::ProducerToken*>(token); }
void* moody_consumer_new(void* queue) { return new moodycamel::ConsumerToken(*static_cast<Moody*>(queue)); }
void moody_consumer_free(void* token) { delete static_cast<moodycamel::ConsumerToken*>(token); }
bool moody_push(void* queue, void* token, uint64_t item) {
    return static_cast<Moody*>(queue)->enqueue(*static_cast<moodycamel::ProducerToken*>(token), item);
}
bool moody_push_run(void* queue, void* token, const uint64_t* items, size_t count) {
    return static_cast<Moody*>(queue)->enqueue_bulk(*static_cast<moodycamel::ProducerToken*>(token), items, count);
}
size_t moody_pop_run(void* queue, void* token, uint64_t* out, size_t max) {
    return static_cast<Moody*>(queue)->try_dequeue_bulk(*static_cast<moodycamel::ConsumerToken*>(token), out, max);
}
bool moody_pop(void* queue, void* token, uint64_t* out) {
    return static_cast<Moody*>(queue)->try_dequeue(*static_cast<moodycamel::ConsumerToken*>(token), *out);
}
}
#endif

#ifdef HAVE_CUCKOO
#include <libcuckoo/cuckoohash_map.hh>

using Cuckoo = libcuckoo::cuckoohash_map<uint64_t, uint64_t, Mix>;

extern "C" {
void* cuckoo_new(size_t) { return new Cuckoo(); }
void cuckoo_free(void* map) { delete static_cast<Cuckoo*>(map); }
bool cuckoo_get(void* map, uint64_t key, uint64_t* value) { return static_cast<Cuckoo*>(map)->find(key, *value); }
bool cuckoo_put(void* map, uint64_t key, uint64_t value) {
    return static_cast<Cuckoo*>(map)->insert_or_assign(key, value);
}
bool cuckoo_remove(void* map, uint64_t key) { return static_cast<Cuckoo*>(map)->erase(key); }
}
#endif

#ifdef HAVE_TBB
#include <tbb/concurrent_hash_map.h>

struct TbbHash {
    size_t hash(uint64_t key) const { return Mix()(key); }
    bool equal(uint64_t one, uint64_t other) const { return one == other; }
};
using Tbb = tbb::concurrent_hash_map<uint64_t, uint64_t, TbbHash>;

extern "C" {
void* tbb_new(size_t) { return new Tbb(); }
void tbb_free(void* map) { delete static_cast<Tbb*>(map); }
bool tbb_get(void* map, uint64_t key, uint64_t* value) {
    Tbb::const_accessor entry;
    if (!static_cast<Tbb*>(map)->find(entry, key)) return false;
    *value = entry->second;
    return true;
}
bool tbb_put(void* map, uint64_t key, uint64_t value) {
    Tbb::accessor entry;
    bool is_new = static_cast<Tbb*>(map)->insert(entry, key);
    entry->second = value;
    return is_new;
}
bool tbb_remove(void* map, uint64_t key) { return static_cast<Tbb*>(map)->erase(key); }
}
#endif

#ifdef HAVE_CDS
#include <atomic>
#include <cds/init.h>
#include <cds/gc/hp.h>
#include <cds/container/michael_kvlist_hp.h>
#include <cds/container/michael_map.h>
#include <cds/container/split_list_map.h>

// A value that a put changes in place while others read it.
struct Value {
    std::atomic<uint64_t> word{0};
    Value() = default;
    Value(const Value& other) : word(other.word.load(std::memory_order_relaxed)) {}
};

struct ListTraits : cds::container::michael_list::traits {
    using less = std::less<uint64_t>;
};
struct MichaelTraits : cds::container::michael_map::traits {
    using hash = Mix;
};
struct SplitTraits : cds::container::split_list::traits {
    using hash = Mix;
    using ordered_list = cds::container::michael_list_tag;
    using ordered_list_traits = ListTraits;
};
using MichaelList = cds::container::MichaelKVList<cds::gc::HP, uint64_t, Value, ListTraits>;
using Michael = cds::container::MichaelHashMap<cds::gc::HP, MichaelList, MichaelTraits>;
using Split = cds::container::SplitListMap<cds::gc::HP, uint64_t, Value, SplitTraits>;

template <typename Map> bool cds_get(void* map, uint64_t key, uint64_t* value) {
    return static_cast<Map*>(map)->find(key, [value](auto& item) {
        *value = item.second.word.load(std::memory_order_acquire);
    });
}
template <typename Map> bool cds_put(void* map, uint64_t key, uint64_t value) {
    return static_cast<Map*>(map)->update(key, [value](bool, auto& item) {
        item.second.word.store(value, std::memory_order_release);
    }).second;
}

extern "C" {
// Once before anything else of libcds, and for each thread that uses it.
void cds_start() {
    cds::Initialize();
    // Hazard pointers, threads at once, retired pointers before a scan: the defaults but for the threads.
    static cds::gc::HP collector(16, 64, 64);
}
void cds_attach() { cds::threading::Manager::attachThread(); }
void cds_detach() { cds::threading::Manager::detachThread(); }

void* michael_new(size_t entries) { return new Michael(entries, 1); }
void michael_free(void* map) { delete static_cast<Michael*>(map); }
bool michael_get(void* map, uint64_t key, uint64_t* value) { return cds_get<Michael>(map, key, value); }
bool michael_put(void* map, uint64_t key, uint64_t value) { return cds_put<Michael>(map, key, value); }
bool michael_remove(void* map, uint64_t key) { return static_cast<Michael*>(map)->erase(key); }

void* split_new(size_t entries) { return new Split(entries, 1); }
void split_free(void* map) { delete static_cast<Split*>(map); }
bool split_get(void* map, uint64_t key, uint64_t* value) { return cds_get<Split>(map, key, value); }
bool split_put(void* map, uint64_t key, uint64_t value) { return cds_put<Split>(map, key, value); }
bool split_remove(void* map, uint64_t key) { return static_cast<Split*>(map)->erase(key); }
}
#endif
