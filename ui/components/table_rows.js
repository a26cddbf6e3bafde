draw_each_value(".ecco-table-rows", (home, value) => { home.rows = value; });
