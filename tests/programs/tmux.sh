# tmux.sh DIR: a server of its own, windows, keys, captured output, stopped again.
set -eu
cd "$1"
t() { tmux -S "$1" -f /dev/null "${@:2}"; }
socket="$PWD/socket"
t "$socket" new-session -d -s main -x 100 -y 30 'sh'
t "$socket" new-window -t main 'sh'
t "$socket" split-window -t main 'sh'
t "$socket" send-keys -t main 'seq 1 2000 | wc -l; echo sum=$((20+22))' Enter
for _ in $(seq 100); do
    if t "$socket" capture-pane -p -t main | grep -q '^sum=42'; then break; fi
    sleep 0.1
done
t "$socket" capture-pane -p -t main | grep '^sum=42$'
t "$socket" list-windows -t main -F '#{window_index} #{window_panes}'
for i in $(seq 20); do t "$socket" new-window -d -t main 'sleep 100'; done
t "$socket" list-windows -t main | wc -l
t "$socket" kill-server
for _ in $(seq 100); do
    if ! t "$socket" list-sessions >/dev/null 2>&1; then echo stopped; exit 0; fi
    sleep 0.1
done
echo still running
exit 1
